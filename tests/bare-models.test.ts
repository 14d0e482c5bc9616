import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Datatype } from "@millrace/protocol";
import { afterAll, beforeAll, expect, onTestFailed, test } from "vitest";
import { within } from "./support/bounded.ts";
import { CommandProcess } from "./support/command-process.ts";
import { elements, get, infer, post, requestOf } from "./support/inference-client.ts";
import { encodeOnnxModel, type OnnxModel, type OnnxValue } from "./support/onnx-model.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

/** Two inputs of different type, three outputs. */
const FEATURES: OnnxModel = {
  name: "features",
  inputs: [
    { name: "values", datatype: "FP32", shape: ["batch", 3] },
    { name: "ids", datatype: "INT32", shape: ["batch"] },
  ],
  outputs: [
    { name: "doubled", datatype: "FP32", shape: ["batch", 3] },
    { name: "sum", datatype: "FP32", shape: ["batch"] },
    { name: "next", datatype: "INT32", shape: ["batch"] },
  ],
  nodes: [
    { op: "Mul", inputs: ["values", "two"], outputs: ["doubled"] },
    { op: "ReduceSum", inputs: ["values", "last"], outputs: ["sum"], attributes: { keepdims: { int: 0 } } },
    { op: "Add", inputs: ["ids", "one"], outputs: ["next"] },
  ],
  initializers: [
    { name: "two", datatype: "FP32", shape: [], data: [2] },
    { name: "last", datatype: "INT64", shape: [1], data: [-1] },
    { name: "one", datatype: "INT32", shape: [], data: [1] },
  ],
};

/** A free inner dimension. */
const RUNNING: OnnxModel = {
  name: "running",
  inputs: [{ name: "x", datatype: "FP32", shape: ["batch", "length"] }],
  outputs: [{ name: "sums", datatype: "FP32", shape: ["batch", "length"] }],
  nodes: [{ op: "CumSum", inputs: ["x", "axis"], outputs: ["sums"] }],
  initializers: [{ name: "axis", datatype: "INT64", shape: [], data: [1] }],
};

const WORDS = ["", "größer", "日本語", "🦀", "\t\u0007"];

/** Strings in and out, and strings that the model holds itself. */
const WORDBOOK: OnnxModel = {
  name: "wordbook",
  inputs: [
    { name: "text", datatype: "BYTES", shape: ["batch", 2] },
    { name: "index", datatype: "INT64", shape: ["batch"] },
  ],
  outputs: [
    { name: "swapped", datatype: "BYTES", shape: ["batch", 2] },
    { name: "word", datatype: "BYTES", shape: ["batch"] },
  ],
  nodes: [
    { op: "Gather", inputs: ["text", "order"], outputs: ["swapped"], attributes: { axis: { int: 1 } } },
    { op: "Gather", inputs: ["words", "index"], outputs: ["word"] },
  ],
  initializers: [
    { name: "order", datatype: "INT64", shape: [2], data: [1, 0] },
    { name: "words", datatype: "BYTES", shape: [WORDS.length], data: WORDS },
  ],
};

/** 64 bits, signed and not. */
const WIDE: OnnxModel = {
  name: "wide",
  inputs: [
    { name: "signed", datatype: "INT64", shape: ["batch", 2] },
    { name: "unsigned", datatype: "UINT64", shape: ["batch", 2] },
  ],
  outputs: [
    { name: "next", datatype: "INT64", shape: ["batch", 2] },
    { name: "same", datatype: "UINT64", shape: ["batch", 2] },
    { name: "half", datatype: "UINT64", shape: ["batch", 2] },
  ],
  nodes: [
    { op: "Add", inputs: ["signed", "one"], outputs: ["next"] },
    { op: "Identity", inputs: ["unsigned"], outputs: ["same"] },
    {
      op: "BitShift",
      inputs: ["unsigned", "shift"],
      outputs: ["half"],
      attributes: { direction: { string: "RIGHT" } },
    },
  ],
  initializers: [
    { name: "one", datatype: "INT64", shape: [], data: [1] },
    { name: "shift", datatype: "UINT64", shape: [], data: [1] },
  ],
};

/** Two elements of every other datatype that JSON can carry, with the ends of its range. */
const KINDS = {
  BOOL: [true, false],
  INT8: [-128, 127],
  INT16: [-32_768, 32_767],
  INT32: [-2_147_483_648, 2_147_483_647],
  UINT8: [0, 255],
  UINT16: [0, 65_535],
  UINT32: [0, 4_294_967_295],
  FP64: [-1.7976931348623157e308, 0.1],
} as const satisfies Partial<Record<Datatype, readonly unknown[]>>;
const KIND_NAMES = Object.keys(KINDS) as (keyof typeof KINDS)[];

function kindValue(prefix: string, datatype: Datatype): OnnxValue {
  return { name: `${prefix}_${datatype}`, datatype, shape: ["batch", 2] };
}

/** Turns the two elements of each row around, in every datatype. */
const KIND_TURNER: OnnxModel = {
  name: "kinds",
  inputs: KIND_NAMES.map((kind) => kindValue("in", kind)),
  outputs: KIND_NAMES.map((kind) => kindValue("out", kind)),
  nodes: KIND_NAMES.map((kind) => ({
    op: "Gather",
    inputs: [`in_${kind}`, "order"],
    outputs: [`out_${kind}`],
    attributes: { axis: { int: 1 } },
  })),
  initializers: [{ name: "order", datatype: "INT64", shape: [2], data: [1, 0] }],
};

/** No batch dimension anywhere. */
const TRANSPOSED: OnnxModel = {
  name: "transposed",
  inputs: [{ name: "x", datatype: "FP32", shape: [2, 3] }],
  outputs: [{ name: "y", datatype: "FP32", shape: [3, 2] }],
  nodes: [{ op: "Transpose", inputs: ["x"], outputs: ["y"] }],
};

/** One number a row. */
function scaled(name: string, factor: number): OnnxModel {
  return {
    name,
    inputs: [{ name: "x", datatype: "FP32", shape: ["batch"] }],
    outputs: [{ name: "y", datatype: "FP32", shape: ["batch"] }],
    nodes: [{ op: "Mul", inputs: ["x", "factor"], outputs: ["y"] }],
    initializers: [{ name: "factor", datatype: "FP32", shape: [], data: [factor] }],
  };
}

const WRONG_DIGEST = "0".repeat(64);
const FILES: Readonly<Record<string, OnnxModel | string>> = {
  "features.onnx": FEATURES,
  "running.onnx": RUNNING,
  "wordbook.onnx": WORDBOOK,
  "wide/model.onnx": WIDE,
  "kinds.onnx": KIND_TURNER,
  "transposed.onnx": TRANSPOSED,
  "scaled/2/model.onnx": scaled("scaled", 2),
  "scaled/10/model.onnx": scaled("scaled", 10),
  "broken.onnx": "this is no ONNX file",
  "forged/1/model.onnx": scaled("forged", 1),
  "forged/model.yaml": `files:\n  1/model.onnx:\n    sha256: "${WRONG_DIGEST}"\n`,
};

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let system: CommandProcess;
let url: string;

beforeAll(async () => {
  folder = await temporaryFolder();
  for (const [path, content] of Object.entries(FILES)) {
    await mkdir(dirname(join(folder.path, path)), { recursive: true });
    await writeFile(join(folder.path, path), typeof content === "string" ? content : encodeOnnxModel(content));
  }
  system = new CommandProcess({ argv: ["npx", "millrace", "dev", "--models", folder.path, "--port", "0"] });
  const ready = await system.log.waitFor(/^ready /, { timeoutMs: 40_000 });
  url = ready.split(" ")[1] ?? "";
});

afterAll(async () => {
  await system?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

test("two inputs of different type and three outputs; data nested, flat, and in the plain form", async () => {
  const doubled = elements("FP32", [2, 3], [2, -4, 6.5, 0, 0.5, 1e6]);
  const sum = elements("FP32", [2], [2.25, 500_000.25]);
  const next = elements("INT32", [2], [8, -2_147_483_648]);
  const ids = elements("INT32", [2], [7, 2_147_483_647]);
  const nested = [
    [1, -2, 3.25],
    [0, 0.25, 500_000],
  ];
  for (const data of [nested, nested.flat()]) {
    const values = elements("FP32", [2, 3], data);
    // The order of the inputs is the client's affair.
    expect(await infer(url, "features", { ids, values })).toEqual({ doubled, sum, next });
  }
  const plain = await post(`${url}/predict/features`, { data: { values: nested, ids: ids.data }, request_id: "r-1" });
  expect(plain.status, plain.text).toBe(200);
  expect(JSON.parse(plain.text)).toMatchObject({
    request_id: "r-1",
    result: {
      doubled: [
        [2, -4, 6.5],
        [0, 0.5, 1e6],
      ],
      sum: sum.data,
      next: next.data,
    },
    batch_size: 2,
  });
});

test("only the outputs that are asked for come", async () => {
  const inputs = { values: elements("FP32", [1, 3], [1, 2, 3]), ids: elements("INT32", [1], [1]) };
  const body = { id: "r-2", ...requestOf(inputs), outputs: [{ name: "next" }, { name: "sum" }] };
  const { status, text } = await post(`${url}/v2/models/features/infer`, body);
  expect(status, text).toBe(200);
  expect(JSON.parse(text)).toEqual({
    model_name: "features",
    model_version: "1",
    id: "r-2",
    outputs: [
      { name: "next", datatype: "INT32", shape: [1], data: [2] },
      { name: "sum", datatype: "FP32", shape: [1], data: [6] },
    ],
  });
});

test("a free inner dimension: requests of different lengths at once, each answered in its own length", async () => {
  await Promise.all(
    Array.from({ length: 60 }, async (_, i) => {
      const [rows, length] = [1 + (i % 3), 1 + (i % 7)];
      const data = Array.from({ length: rows * length }, (_, at) => i + at);
      const sums = data.map((_, at) =>
        data.slice(at - (at % length), at + 1).reduce((total, value) => total + value, 0),
      );
      const outputs = await infer(url, "running", { x: elements("FP32", [rows, length], data) });
      expect(outputs).toEqual({ sums: elements("FP32", [rows, length], sums) });
    }),
  );
});

test("strings in and out: empty, beyond ASCII, beyond the basic plane, with control characters", async () => {
  const text = ["", "größer als", "日本語\n", "🦀🦀", '"quoted" \\', "\u0001\t"];
  const outputs = await infer(url, "wordbook", {
    text: elements("BYTES", [3, 2], text),
    index: elements("INT64", [3], [0, 3, 4]),
  });
  expect(outputs).toEqual({
    swapped: elements("BYTES", [3, 2], [text[1], text[0], text[3], text[2], text[5], text[4]]),
    word: elements("BYTES", [3], [WORDS[0], WORDS[3], WORDS[4]]),
  });
});

test("what a model refuses in one request costs the requests beside it nothing", async () => {
  // onnxruntime takes texts up to their first zero byte; an index beyond the words fails in the run itself.
  const requests = ["fine", "zero \u0000 byte", "fine too", "beyond"].map((text) =>
    requestOf({
      text: elements("BYTES", [1, 2], [text, ""]),
      index: elements("INT64", [1], [text === "beyond" ? WORDS.length : 1]),
    }),
  );
  const answers = await Promise.all(requests.map((body) => post(`${url}/v2/models/wordbook/infer`, body)));
  expect(answers.map(({ status, text }) => [status, (JSON.parse(text) as { code?: string }).code])).toEqual([
    [200, undefined],
    [400, "invalid_value"],
    [200, undefined],
    [500, "model_error"],
  ]);
});

test("64-bit integers are exact to their ends, in the text of the request and of the answer", async () => {
  const body =
    '{"inputs":[{"name":"signed","datatype":"INT64","shape":[1,2],"data":[9223372036854775806,-9223372036854775808]},' +
    '{"name":"unsigned","datatype":"UINT64","shape":[1,2],"data":[18446744073709551615,9007199254740993]}]}';
  const { status, text } = await post(`${url}/v2/models/wide/infer`, body);
  expect(status, text).toBe(200);
  const compact = text.replaceAll(/\s/g, "");
  expect(compact).toContain('"data":[9223372036854775807,-9223372036854775807]');
  expect(compact).toContain('"data":[18446744073709551615,9007199254740993]');
  expect(compact).toContain('"data":[9223372036854775807,4503599627370496]');
});

test("every other datatype that JSON can carry, to the ends of its range", async () => {
  const inputs = Object.fromEntries(KIND_NAMES.map((kind) => [`in_${kind}`, elements(kind, [1, 2], KINDS[kind])]));
  const outputs = await infer(url, "kinds", inputs);
  for (const kind of KIND_NAMES) {
    expect(outputs[`out_${kind}`], kind).toEqual(elements(kind, [1, 2], KINDS[kind].toReversed()));
  }
  // One beyond the end is refused, and named.
  const beyond = requestOf({ ...inputs, in_INT8: elements("INT8", [1, 2], [-129, 0]) });
  const { status, text } = await post(`${url}/v2/models/kinds/infer`, beyond);
  expect(status).toBe(400);
  expect(JSON.parse(text)).toEqual({ error: expect.stringContaining("in_INT8"), code: "invalid_value" });
});

test("a model without a batch dimension serves, one request at a time", async () => {
  const answers = await Promise.all(
    [0, 100, 200].map((base) => {
      const data = [1, 2, 3, 4, 5, 6].map((value) => base + value);
      return infer(url, "transposed", { x: elements("FP32", [2, 3], data) });
    }),
  );
  for (const [i, { y }] of answers.entries()) {
    const data = [1, 4, 2, 5, 3, 6].map((value) => 100 * i + value);
    expect(y).toEqual(elements("FP32", [3, 2], data));
  }
});

test("two versions of one model, one number a row: the highest number answers unless another is asked for", async () => {
  const x = { x: elements("FP32", [3], [1, -2, 0.5]) };
  expect((await infer(url, "scaled", x)).y?.data).toEqual([10, -20, 5]);
  expect((await infer(url, "scaled/versions/10", x)).y?.data).toEqual([10, -20, 5]);
  expect((await infer(url, "scaled/versions/2", x)).y?.data).toEqual([2, -4, 1]);
  expect((await post(`${url}/v2/models/scaled/versions/3/infer`, requestOf(x))).status).toBe(404);
  expect(JSON.parse((await get(`${url}/v2/models/scaled`)).text)).toEqual({
    name: "scaled",
    versions: ["2", "10"],
    platform: "onnxruntime_onnx",
    inputs: [{ name: "x", datatype: "FP32", shape: [-1] }],
    outputs: [{ name: "y", datatype: "FP32", shape: [-1] }],
  });
  const plain = await post(`${url}/predict/scaled`, { data: 4 });
  expect(JSON.parse(plain.text)).toMatchObject({ result: 40 });
});

test("a file that cannot serve says why, in the log and in the index, and the others serve", async () => {
  onTestFailed(() => console.error(system.log.tail()));
  const { status, text } = await post(`${url}/v2/repository/index`, "");
  expect(status).toBe(200);
  const index = JSON.parse(text) as readonly { name: string; version: string; state: string; reason: string }[];
  const unavailable = index.filter(({ state }) => state !== "READY");
  expect(unavailable.map(({ name, state }) => [name, state])).toEqual([
    ["broken", "UNAVAILABLE"],
    ["forged", "UNAVAILABLE"],
  ]);
  expect(index.filter(({ state }) => state === "READY").map(({ name, version }) => `${name}/${version}`)).toEqual([
    "features/1",
    "kinds/1",
    "running/1",
    "scaled/2",
    "scaled/10",
    "transposed/1",
    "wide/1",
    "wordbook/1",
  ]);
  const [broken, forged] = unavailable;
  expect(broken?.reason).toMatch(/protobuf|parse|ONNX/i);
  expect(forged?.reason).toContain(WRONG_DIGEST);
  for (const { name, reason } of unavailable) {
    const line = await system.log.waitFor(new RegExp(`ERROR .*model cannot serve.*model=${name}`), { timeoutMs: 1000 });
    expect(line).toContain(reason.slice(0, 40).replaceAll('"', '\\"'));
    const answer = await post(`${url}/v2/models/${name}/infer`, { inputs: [] });
    expect(answer.status).toBe(503);
    expect(JSON.parse(answer.text)).toEqual({ error: expect.stringContaining(reason), code: "model_not_ready" });
    expect((await get(`${url}/v2/models/${name}/ready`)).status).toBe(503);
  }
});

test("Ctrl-C ends what npx has started", async () => {
  system.signal("SIGINT");
  // npm reports a signal for its own end, whatever the program made of it.
  await within(10_000, "the end", system.exited);
  expect(system.tree()).toEqual([]);
  for (const name of ["gateway-1", "worker-1", "broker-1"]) {
    expect(system.log.count(new RegExp(`${name} ended with exit code 0`)), system.log.tail()).toBe(1);
  }
});

import { readdirSync, readFileSync } from "node:fs";
import { getPriority } from "node:os";
import { expect, onTestFinished, test } from "vitest";
import { encodeStrings, type ModelDescription, type Tensor } from "@millrace/protocol";
import { ALL_JSON } from "../forms/binary-body.ts";
import { FORMS } from "../forms/forms.ts";
import type { FormAnswer, FormRequest, WrittenAnswer } from "../call/inference-call.ts";
import { FormPool, type FormPoolOptions } from "./form-pool.ts";
import { Refusal } from "../http/refusal.ts";
import { inferBody, TEST_STAGES, testModel } from "../testing.ts";

type Outcome = FormRequest | Refusal;

function poolOf(given: Partial<FormPoolOptions> = {}): { pool: FormPool; defects: unknown[] } {
  const defects: unknown[] = [];
  const pool = new FormPool({ threads: 1, onDefect: (error) => void defects.push(error), ...given });
  onTestFinished(() => pool.close());
  return { pool, defects };
}

type Ask = { readonly form?: string; readonly model?: ModelDescription };

function read(pool: FormPool, text: string | Uint8Array, ask: Ask = {}): Promise<Outcome> {
  const { form = "oip", model = testModel() } = ask;
  return new Promise((resolve) => {
    pool.read({ form, model, body: bytesOf(text), jsonBytes: ALL_JSON }, resolve);
  });
}

/** Memory of its own, as that of a large body is. */
function bytesOf(given: string | ArrayBufferView): Uint8Array {
  if (typeof given === "string") return Uint8Array.from(Buffer.from(given));
  return Uint8Array.from(new Uint8Array(given.buffer, given.byteOffset, given.byteLength));
}

function inLine(text: string | Uint8Array, form: string, model: ModelDescription): Outcome {
  return FORMS[form]!.read(Buffer.from(bytesOf(text)), model, ALL_JSON);
}

const longs = testModel({
  maxBatchSize: 1_000_000,
  maxRequestRows: 1_000_000,
  inputs: [{ name: "x", datatype: "INT64", shape: [-1, 1] }],
});
const exact = ["9223372036854775807", "-9223372036854775808", "9007199254740993", "1e3", "0"];
const long = (data: string, rows = exact.length): string =>
  `{"inputs":[{"name":"x","datatype":"INT64","shape":[${rows},1],"data":[${data}]}]}`;
const several = testModel({
  inputs: [
    { name: "a", datatype: "BYTES", shape: [-1, 2] },
    { name: "b", datatype: "BOOL", shape: [-1, 1] },
  ],
});
const wide = testModel({ maxBatchSize: 1_000_000, maxRequestRows: 1_000_000 });

test.for<[string, string | Uint8Array, string?, ModelDescription?]>([
  ["a request", inferBody([1, 2, 3, 4.5], { id: "ä", parameters: { timeout: 5000 } })],
  ["a large one", inferBody(Array.from({ length: 200_000 }, (_, i) => i / 8)), "oip", wide],
  ["the plain form", '{"data":[[1,2,3,4],[5,6,7,8]],"request_id":"r"}', "plain"],
  ["several inputs", '{"data":{"a":[["x","ÿ"]],"b":[[true]]}}', "plain", several],
  ["exact integers", long(exact.join()), "oip", longs],
  [
    "many exact integers",
    long(Array.from({ length: 50_000 }, (_, i) => 2n ** 62n + BigInt(i)).join(), 50_000),
    "oip",
    longs,
  ],
  ["an integer beyond 64 bits", long(`${exact.slice(1).join()},9223372036854775808`), "oip", longs],
  ["no body", ""],
  ["no UTF-8", Uint8Array.of(0x22, 0xff, 0x22)],
  ["half a body", inferBody().slice(0, -3)],
  ["a wrong value", inferBody([1, 2, 3, 4]).replace("4]", "null]")],
  ["too many rows", inferBody(Array.from({ length: 400 }, () => 0))],
  ["a wrong name", inferBody().replace('"x"', '"__proto__"')],
  ["deep nesting", "[".repeat(1_000_000)],
  ["a long text that is no JSON", "x".repeat(1_000_000)],
])(
  "%s: the thread makes of it what is made in line, to the byte",
  async ([, text, form = "oip", model = testModel()]) => {
    const { pool } = poolOf();
    const apart = await read(pool, text, { form, model });
    const expected = inLine(text, form, model);
    expect(apart instanceof Refusal).toBe(expected instanceof Refusal);
    if (expected instanceof Refusal || apart instanceof Refusal) return expect(apart).toEqual(expected);
    const plain = ({ payload, inputs, ...rest }: FormRequest): unknown => ({
      ...rest,
      payload: Buffer.from(payload).toString("hex"),
      inputs: inputs.map(({ data, ...tensor }) => ({ ...tensor, data: Buffer.from(data).toString("hex") })),
    });
    expect(plain(apart)).toEqual(plain(expected));
    // Views into the payload, as in line.
    for (const { data } of apart.inputs) expect(data.buffer).toBe(apart.payload.buffer);
  },
);

test("a large body changes hands without a copy; a small one is left to its owner", async () => {
  const { pool } = poolOf();
  const large = bytesOf(inferBody(Array.from({ length: 200_000 }, () => 0)));
  const small = bytesOf(inferBody());
  const ask = (body: Uint8Array): Promise<Outcome> =>
    new Promise((resolve) => pool.read({ form: "oip", model: wide, body, jsonBytes: ALL_JSON }, resolve));
  const request = (await ask(large)) as FormRequest;
  expect(large.byteLength).toBe(0);
  expect(request.payload.buffer.byteLength).toBe(request.payload.byteLength);
  await ask(small);
  expect(small.byteLength).toBeGreaterThan(0);
});

test("too many that wait are refused at once; those that are cancelled make room and hear nothing", async () => {
  const { pool } = poolOf();
  const outcomes: Outcome[] = [];
  const task = () => ({ form: "oip", model: testModel(), body: bytesOf(inferBody()), jsonBytes: ALL_JSON });
  const never = (): void => {
    throw new Error("cancelled");
  };
  const running = pool.read(task(), never);
  const waiting = Array.from({ length: 64 }, () => pool.read(task(), never));
  pool.read(task(), (outcome) => void outcomes.push(outcome));
  expect(outcomes).toEqual([expect.objectContaining({ code: "queue_full", retryAfterMs: 1000 })]);
  for (const job of [running, ...waiting]) pool.cancel(job);
  expect(await read(pool, inferBody())).not.toBeInstanceOf(Refusal);
});

test("values that need more memory than a thread has cost their own request alone", async () => {
  const { pool, defects } = poolOf({ heapMegabytes: 48 });
  const hostile = read(pool, `[${"{},".repeat(2_000_000)}{}]`);
  const next = read(pool, inferBody());
  expect(await hostile).toMatchObject({ code: "body_too_large" });
  expect(await next).not.toBeInstanceOf(Refusal);
  expect(defects).toEqual([]);
});

test("a thread that fails is told as a defect, and replaced", async () => {
  const entry = new URL(`data:text/javascript,import { parentPort } from "node:worker_threads";
    parentPort.on("message", () => { throw new Error("planted"); });`);
  const { pool, defects } = poolOf({ entry });
  expect(await read(pool, inferBody())).toMatchObject({ code: "internal" });
  expect(await write(pool, "oip", answerOf("oip"))).toMatchObject({
    code: "internal",
    message: "the answer could not be written, by a defect of the gateway",
  });
  expect(defects).toEqual([
    expect.objectContaining({ message: "planted" }),
    expect.objectContaining({ message: "planted" }),
  ]);
});

test("more models than a thread keeps, one after the other and again, are each read as they are", async () => {
  const { pool } = poolOf();
  const models = Array.from({ length: 20 }, (_, width) =>
    testModel({ name: `m${width}`, inputs: [{ name: "x", datatype: "FP32", shape: [-1, width + 1] }] }),
  );
  for (const model of [...models, ...models.toReversed(), ...models]) {
    const width = model.inputs[0]!.shape[1]!;
    const body = JSON.stringify({
      inputs: [{ name: "x", datatype: "FP32", shape: [1, width], data: Array(width).fill(1) }],
    });
    const request = (await read(pool, body, { model })) as FormRequest;
    expect(request.inputs[0]?.shape).toEqual([1, width]);
  }
});

const yAndMore: readonly Tensor[] = [
  { name: "y", datatype: "FP32", shape: [2, 2], data: bytesOf(Float32Array.of(1.5, -0, 3, 0.1)) },
  { name: "longs", datatype: "UINT64", shape: [2, 1], data: bytesOf(BigUint64Array.of(2n ** 64n - 1n, 1n)) },
  { name: "texts", datatype: "BYTES", shape: [2, 1], data: encodeStrings(['a "quote"', "\u{1f600}"]) },
  { name: "none", datatype: "INT8", shape: [2, 0], data: Uint8Array.of() },
  { name: "flags", datatype: "BOOL", shape: [2, 1], data: Uint8Array.of(1, 0) },
];

/** The answer to a request in a form, both as they would be if it had been read. */
function answerOf(form: string, given: { outputs?: readonly Tensor[]; asked?: object } = {}): FormAnswer<FormRequest> {
  const { outputs = yAndMore, asked = {} } = given;
  const model = testModel({
    outputs: outputs.map(({ name, datatype, shape }) => ({ name, datatype, shape: shape.map(() => -1) })),
  });
  const bodies: Readonly<Record<string, string>> = {
    oip: inferBody([1, 2, 3, 4], { id: "ä", ...asked }),
    plain: '{"data":[[1,2,3,4]],"request_id":"r"}',
    tfs: JSON.stringify({ [Object.keys(asked)[0] ?? "instances"]: [[1, 2, 3, 4]] }),
  };
  const request = inLine(bodies[form]!, form, model);
  if (request instanceof Refusal) throw new Error(request.message);
  const answer = { ok: true, outputs, rows: 2, batchRows: 5, worker: "w", stages: TEST_STAGES } as const;
  return { model, request, answer, latencyMs: 1.25, httpRequestId: "h" };
}

function write(pool: FormPool, form: string, answer: FormAnswer<FormRequest>): Promise<WrittenAnswer | Refusal> {
  return new Promise((resolve) => void pool.write({ form, answer }, resolve));
}

const outputsAsked = (parameters: Readonly<Record<string, object>>): object => ({
  outputs: Object.entries(parameters).map(([name, given]) => ({ name, parameters: given })),
});
const manyFloats: Tensor = {
  name: "y",
  datatype: "FP32",
  shape: [1, 600_000],
  data: bytesOf(Float32Array.from({ length: 600_000 }, (_, i) => Math.sin(i))),
};

test.for<[string, string, object?, (readonly Tensor[])?]>([
  ["the protocol's form", "oip"],
  ["some outputs, in another order", "oip", { outputs: [{ name: "texts" }, { name: "y" }] }],
  ["bytes and JSON mixed", "oip", outputsAsked({ y: {}, longs: { binary_data: true }, texts: { binary_data: true } })],
  ["classes", "oip", outputsAsked({ y: { classification: 1 } })],
  ["classes as bytes", "oip", outputsAsked({ y: { classification: 1, binary_data: true }, texts: {} })],
  ["more than is copied in a turn", "oip", {}, [manyFloats, ...yAndMore.slice(1)]],
  ["the plain form", "plain"],
  ["rows", "tfs"],
  ["columns", "tfs", { inputs: [] }],
  ["what JSON cannot carry", "oip", {}, [{ ...yAndMore[0]!, data: bytesOf(Float32Array.of(1, 2, 3, Number.NaN)) }]],
  ["data that does not fit its shape", "plain", {}, [{ ...yAndMore[0]!, shape: [3, 2] }]],
])("%s: the thread writes what is written in line, to the byte", async ([, form, asked = {}, outputs = yAndMore]) => {
  const { pool, defects } = poolOf();
  // As in a message: at any alignment, with others beside it.
  const outOfLine = outputs.map((tensor) => {
    const data = Buffer.concat([Buffer.of(7), tensor.data, Buffer.of(7)]).subarray(1, 1 + tensor.data.byteLength);
    return { ...tensor, data };
  });
  const apart = await write(pool, form, answerOf(form, { asked, outputs: outOfLine }));
  const expected = FORMS[form]!.write(answerOf(form, { asked, outputs }));
  expect(defects).toEqual([]);
  if (expected instanceof Refusal || apart instanceof Refusal) return expect(apart).toEqual(expected);
  const isText = typeof expected === "string";
  const bytes = isText ? Buffer.from(expected) : Buffer.concat(expected.parts);
  expect(Buffer.concat(apart.parts).equals(bytes)).toBe(true);
  expect(apart.jsonBytes).toBe(isText ? ALL_JSON : expected.jsonBytes);
});

test("answers go before bodies; cancelled ones hear nothing, and the outputs stay with their owner", async () => {
  const { pool } = poolOf();
  const order: string[] = [];
  const answer = answerOf("oip", { outputs: [manyFloats] });
  const job = pool.write({ form: "oip", answer }, () => order.push("cancelled"));
  const body = read(pool, inferBody()).then(() => order.push("body"));
  const waiting = pool.write({ form: "oip", answer }, () => order.push("cancelled too"));
  const last = write(pool, "oip", answer).then(() => order.push("answer"));
  pool.cancel(job);
  pool.cancel(waiting);
  await Promise.all([body, last]);
  expect(order).toEqual(["answer", "body"]);
  expect(manyFloats.data.byteLength).toBe(2_400_000);
});

test("an answer that needs more memory than a thread has costs its own request alone", async () => {
  const { pool, defects } = poolOf({ heapMegabytes: 48 });
  const texts = encodeStrings(Array.from({ length: 2_000_000 }, (_, i) => `text ${i}`));
  const y: Tensor = { name: "y", datatype: "BYTES", shape: [2_000_000], data: texts };
  const hostile = write(pool, "oip", answerOf("oip", { outputs: [y] }));
  const next = write(pool, "oip", answerOf("oip"));
  expect(await hostile).toMatchObject({ code: "answer_too_large" });
  expect(await next).not.toBeInstanceOf(Refusal);
  expect(defects).toEqual([]);
});

test("an answer for whose copy there is no memory costs its own request alone; one that is cancelled hears nothing", async () => {
  const { pool, defects } = poolOf();
  const y: Tensor = { ...yAndMore[0]!, data: { byteLength: 2 ** 52 } as Uint8Array };
  const given = { ...answerOf("oip"), answer: { ...answerOf("oip").answer, outputs: [y] } };
  const never = (): void => {
    throw new Error("cancelled");
  };
  pool.cancel(pool.write({ form: "oip", answer: given }, never));
  const hostile = write(pool, "oip", given);
  const next = write(pool, "oip", answerOf("oip"));
  expect(await hostile).toMatchObject({ code: "internal" });
  expect(await next).not.toBeInstanceOf(Refusal);
  expect(defects).toEqual([expect.any(RangeError), expect.any(RangeError)]);
});

test.runIf(process.platform === "linux")(
  "the thread gives way to the event loop, which keeps its priority",
  async () => {
    const nices = (): number[] =>
      readdirSync("/proc/self/task").map((id) => {
        // After the name, which may hold anything: state, …; the nineteenth field of all is the niceness.
        return Number(
          readFileSync(`/proc/self/task/${id}/stat`, "utf8")
            .replace(/^.*\) /s, "")
            .split(" ")[16],
        );
      });
    const { pool } = poolOf();
    const before = nices();
    await read(pool, inferBody());
    expect(nices().filter((nice) => nice === 10)).toHaveLength(before.filter((nice) => nice === 10).length + 1);
    expect(getPriority(process.pid)).toBe(getPriority(process.ppid));
  },
);

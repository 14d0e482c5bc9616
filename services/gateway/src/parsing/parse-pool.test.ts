import { readdirSync, readFileSync } from "node:fs";
import { getPriority } from "node:os";
import { expect, onTestFinished, test } from "vitest";
import type { ModelDescription } from "@millrace/protocol";
import { ALL_JSON } from "../forms/binary-body.ts";
import { FORMS } from "../forms/forms.ts";
import type { FormRequest } from "../call/inference-call.ts";
import { ParsePool, type ParsePoolOptions } from "./parse-pool.ts";
import { Refusal } from "../http/refusal.ts";
import { inferBody, testModel } from "../testing.ts";

type Outcome = FormRequest | Refusal;

function poolOf(given: Partial<ParsePoolOptions> = {}): { pool: ParsePool; defects: unknown[] } {
  const defects: unknown[] = [];
  const pool = new ParsePool({ threads: 1, onDefect: (error) => void defects.push(error), ...given });
  onTestFinished(() => pool.close());
  return { pool, defects };
}

type Ask = { readonly form?: string; readonly model?: ModelDescription };

function parse(pool: ParsePool, text: string | Uint8Array, ask: Ask = {}): Promise<Outcome> {
  const { form = "oip", model = testModel() } = ask;
  return new Promise((resolve) => {
    pool.parse({ form, model, body: bytesOf(text), jsonBytes: ALL_JSON }, resolve);
  });
}

/** Memory of its own, as that of a large body is. */
function bytesOf(text: string | Uint8Array): Uint8Array {
  return Uint8Array.from(typeof text === "string" ? Buffer.from(text) : text);
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
    const apart = await parse(pool, text, { form, model });
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
    new Promise((resolve) => pool.parse({ form: "oip", model: wide, body, jsonBytes: ALL_JSON }, resolve));
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
  const running = pool.parse(task(), never);
  const waiting = Array.from({ length: 64 }, () => pool.parse(task(), never));
  pool.parse(task(), (outcome) => void outcomes.push(outcome));
  expect(outcomes).toEqual([expect.objectContaining({ code: "queue_full", retryAfterMs: 1000 })]);
  for (const job of [running, ...waiting]) pool.cancel(job);
  expect(await parse(pool, inferBody())).not.toBeInstanceOf(Refusal);
});

test("values that need more memory than a thread has cost their own request alone", async () => {
  const { pool, defects } = poolOf({ heapMegabytes: 48 });
  const hostile = parse(pool, `[${"{},".repeat(2_000_000)}{}]`);
  const next = parse(pool, inferBody());
  expect(await hostile).toMatchObject({ code: "body_too_large" });
  expect(await next).not.toBeInstanceOf(Refusal);
  expect(defects).toEqual([]);
});

test("a thread that fails is told as a defect, and replaced", async () => {
  const entry = new URL(`data:text/javascript,import { parentPort } from "node:worker_threads";
    parentPort.on("message", () => { throw new Error("planted"); });`);
  const { pool, defects } = poolOf({ entry });
  expect(await parse(pool, inferBody())).toMatchObject({ code: "internal" });
  expect(await parse(pool, inferBody())).toMatchObject({ code: "internal" });
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
    const request = (await parse(pool, body, { model })) as FormRequest;
    expect(request.inputs[0]?.shape).toEqual([1, width]);
  }
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
    await parse(pool, inferBody());
    expect(nices().filter((nice) => nice === 10)).toHaveLength(before.filter((nice) => nice === 10).length + 1);
    expect(getPriority(process.pid)).toBe(getPriority(process.ppid));
  },
);

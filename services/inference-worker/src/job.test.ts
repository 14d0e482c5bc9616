import { encodeTensorList, errorCodeOf, type MessageOf, type ModelDescription } from "@millrace/protocol";
import { expect, test } from "vitest";
import { answersOf, type Job, jobOf, prepare, prepareAlone, refusalsOf } from "./job.ts";

const model: ModelDescription = {
  name: "m",
  version: "1",
  state: "ready",
  reason: "",
  platform: "simulated",
  digest: "",
  batching: true,
  maxBatchSize: 8,
  timeoutMs: 0,
  sloMs: 0,
  maxHoldMs: 0,
  maxRequestRows: 8,
  share: 1,
  maxBatchElements: 0,
  axes: [],
  optionalInputs: [],
  inputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
  outputs: [{ name: "y", datatype: "FP32", shape: [-1, 2] }],
};

type Item = MessageOf<"JOB">["items"][number];

function item(request: number, rows: number[][], more: Partial<Item> = {}): Item {
  const payload = Buffer.from(new Float32Array(rows.flat()).buffer);
  const tensors = encodeTensorList({
    tensors: [{ name: "x", datatype: "FP32", shape: [rows.length, 2], bytes: payload.byteLength }],
    outputs: [],
  });
  const about = { origin: Buffer.alloc(8), attempt: 0, budgetUs: 1_000_000, trace: Buffer.alloc(0) };
  return { ...about, request, rows: rows.length, payload, tensors, ...more };
}

function job(...items: Item[]): Job {
  const message: MessageOf<"JOB"> = { command: "JOB", batch: 7, slot: 0, model: 0, bucket: "", flags: 0, items };
  return jobOf(message, { session: { broker: "b", granted: [2] }, model, padding: undefined }, 0);
}

const valuesOf = (bytes: Uint8Array): number[] => [...new Float32Array(new Uint8Array(bytes).buffer)];
const codesOf = (one: Job): (string | number)[][] =>
  refusalsOf(one).map(({ request, code }) => [request, errorCodeOf(code)]);

test("the rows of all entries run together, and each gets its own back", () => {
  const one = job(
    item(5, [[1, 2]]),
    item(6, [
      [3, 4],
      [5, 6],
    ]),
  );
  const prepared = prepare(one, 0);
  expect([prepared.live, prepared.assembled.rows]).toEqual([[0, 1], 3]);
  const { data } = prepared.assembled.inputs[0]!;
  const answers = answersOf(one, prepared, [{ name: "y", datatype: "FP32", shape: [3, 2], data }]);
  expect(answers.map(({ request, code, payload }) => [request, code, valuesOf(payload)])).toEqual([
    [0, 0, [1, 2]],
    [1, 0, [3, 4, 5, 6]],
  ]);
});

test("a cancelled entry neither runs nor is answered; one out of time is told so", () => {
  const one = job(item(5, [[1, 2]]), item(6, [[3, 4]], { budgetUs: 10_000 }), item(7, [[5, 6]]));
  one.entries[0]!.cancelled = true;
  expect(prepare(one, 10).live).toEqual([2]);
  expect(codesOf(one)).toEqual([[1, "deadline_exceeded"]]);
});

test("an entry that has a fault and is cancelled afterwards is not answered", () => {
  const one = job(item(5, [[1, 2]], { payload: Buffer.alloc(3) }), item(6, [[3, 4]], { payload: Buffer.alloc(3) }));
  prepare(one, 0);
  one.entries[0]!.cancelled = true;
  expect(codesOf(one)).toEqual([[1, "invalid_shape"]]);
});

test("work done while the slot was busy is used again only if the same entries take part", () => {
  const one = job(item(5, [[1, 2]]), item(6, [[3, 4]]));
  const early = prepare(one, 0);
  expect(prepare(one, 1)).toBe(early);
  one.entries[1]!.cancelled = true;
  const late = prepare(one, 2);
  expect([late.live, late.assembled.rows]).toEqual([[0], 1]);
});

test("an entry that does not fit the model, or cannot be read, costs the others nothing", () => {
  const one = job(
    item(5, [[1, 2]], { payload: Buffer.alloc(3) }),
    item(6, [[3, 4]]),
    item(7, [[5, 6]], { tensors: Buffer.from([0xc1]) }),
  );
  expect(prepare(one, 0).live).toEqual([1]);
  expect(codesOf(one).map(([request]) => request)).toEqual([0, 2]);
});

test("an entry can be prepared alone, after its batch has failed, unless it is out of time or cancelled by then", () => {
  const one = job(item(5, [[1, 2]]), item(6, [[3, 4]]), item(7, [[5, 6]], { budgetUs: 10_000 }), item(8, [[7, 8]]));
  expect(prepare(one, 0).live).toEqual([0, 1, 2, 3]);
  one.entries[3]!.cancelled = true;
  const alone = prepareAlone(one, 1, 10);
  expect([alone?.live, alone?.assembled.rows]).toEqual([[1], 1]);
  expect([prepareAlone(one, 2, 10), prepareAlone(one, 3, 10)]).toEqual([undefined, undefined]);
  expect(codesOf(one)).toEqual([[2, "deadline_exceeded"]]);
});

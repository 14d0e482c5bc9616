import {
  DATATYPES,
  type Datatype,
  elementCount,
  encodeStrings,
  FREE,
  type ModelDescription,
  type TensorHeader,
  type TensorSpec,
} from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { assemble, type AssembleItem, split } from "./assemble.ts";
import type { BatchTensor } from "./runner.ts";

const PAIR: readonly TensorSpec[] = [
  { name: "ids", datatype: "INT16", shape: [FREE, FREE] },
  { name: "text", datatype: "BYTES", shape: [FREE] },
];

function describe(inputs: readonly TensorSpec[], more: Partial<ModelDescription> = {}): ModelDescription {
  return {
    name: "echo",
    version: "1",
    state: "ready",
    reason: "",
    platform: "onnxruntime_onnx",
    digest: "",
    batching: true,
    maxBatchSize: 64,
    timeoutMs: 0,
    sloMs: 0,
    maxHoldMs: 0,
    maxRequestRows: 1024,
    share: 1,
    maxBatchElements: 0,
    axes: [],
    optionalInputs: [],
    inputs,
    outputs: inputs,
    ...more,
  };
}

function itemOf(rows: number, tensors: readonly (Omit<TensorHeader, "bytes"> & { data: Uint8Array })[]): AssembleItem {
  return {
    rows,
    tensors: tensors.map(({ name, datatype, shape, data }) => ({ name, datatype, shape, bytes: data.byteLength })),
    payload: Buffer.concat(tensors.map(({ data }) => data)),
  };
}

function pairItem(ids: readonly number[], texts: readonly string[]): AssembleItem {
  const rows = texts.length;
  return itemOf(rows, [
    {
      name: "ids",
      datatype: "INT16",
      shape: [rows, ids.length / rows],
      data: new Uint8Array(Int16Array.from(ids).buffer),
    },
    { name: "text", datatype: "BYTES", shape: [rows], data: encodeStrings(texts) },
  ]);
}

test("rows of several requests come one behind the other, input by input", () => {
  const batch = assemble(describe(PAIR), [pairItem([1, 2, 3], ["a"]), pairItem([4, 5, 6, 7, 8, 9], ["", "ccc"])]);
  expect(batch).toMatchObject({ rows: 3, included: [0, 1], faults: [undefined, undefined] });
  const [ids, text] = batch.inputs;
  expect(ids).toMatchObject({ name: "ids", datatype: "INT16", shape: [3, 3] });
  expect(Array.from(new Int16Array(ids!.data))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  expect(text).toMatchObject({ name: "text", datatype: "BYTES", shape: [3] });
  expect(Buffer.from(text!.data)).toEqual(encodeStrings(["a", "", "ccc"]));
});

test("inputs are copied: a batch's buffers are its own", () => {
  const item = pairItem([1], ["a"]);
  const { inputs } = assemble(describe(PAIR), [item]);
  item.payload.fill(0xff);
  expect(Array.from(new Int16Array(inputs[0]!.data))).toEqual([1]);
});

const good = pairItem([1, 2], ["a"]);
const [ids, text] = good.tensors as [TensorHeader, TensorHeader];

test.each<[string, AssembleItem, string, RegExp]>([
  ["no rows", { ...good, rows: 0 }, "invalid_shape", /at least one row/],
  ["a fraction of rows", { ...good, rows: 1.5 }, "invalid_shape", /at least one row/],
  ["too many rows", pairItem(Array(65).fill(1), Array(65).fill("")), "too_many_rows", /65 rows .* 64/],
  ["an input missing", { ...good, tensors: [ids] }, "invalid_input", /1 inputs for a model of 2/],
  ["inputs swapped", { ...good, tensors: [text, ids] }, "invalid_input", /"ids": "text" stands/],
  [
    "another datatype",
    { ...good, tensors: [{ ...ids, datatype: "UINT16" }, text] },
    "invalid_datatype",
    /UINT16 where INT16/,
  ],
  ["another rank", { ...good, tensors: [{ ...ids, shape: [2] }, text] }, "invalid_shape", /1 dimensions where 2/],
  [
    "rows that differ",
    { ...good, tensors: [{ ...ids, shape: [2, 1] }, text] },
    "invalid_shape",
    /\[2, 1\] where \[1, -1\]/,
  ],
  ["a negative size", { ...good, tensors: [{ ...ids, shape: [1, -2] }, text] }, "invalid_shape", /\[1, -2\]/],
  ["a size beyond reason", { ...good, tensors: [{ ...ids, shape: [1, 2 ** 53] }, text] }, "invalid_shape", /9007/],
  ["bytes too few", { ...good, payload: good.payload.subarray(0, 3) }, "invalid_shape", /"ids": the payload ends/],
  [
    "bytes too many",
    { ...good, payload: Buffer.concat([good.payload, Buffer.alloc(1)]) },
    "invalid_shape",
    /1 bytes behind/,
  ],
  ["negative bytes", { ...good, tensors: [{ ...ids, bytes: -4 }, text] }, "invalid_shape", /payload ends/],
  [
    "bytes of the wrong tensor",
    { ...good, tensors: [{ ...ids, bytes: 3 }, text] },
    "invalid_shape",
    /3 bytes do not fill/,
  ],
  [
    "BYTES lengths that lie",
    { ...good, payload: Buffer.from([1, 0, 2, 0, 255, 255, 255, 255, 97]) },
    "invalid_shape",
    /"text": 5 bytes/,
  ],
  [
    "BYTES that are not UTF-8",
    { ...good, payload: Buffer.from([1, 0, 2, 0, 1, 0, 0, 0, 0xff]) },
    "invalid_value",
    /UTF-8/,
  ],
  [
    "BYTES with a zero byte",
    { ...good, payload: Buffer.from([1, 0, 2, 0, 1, 0, 0, 0, 0]) },
    "invalid_value",
    /zero bytes/,
  ],
])("%s: the request stays out, the others run", (...[, bad, code, message]) => {
  const batch = assemble(describe(PAIR), [good, bad, pairItem([8, 9], ["z"])]);
  expect(batch.included).toEqual([0, 2]);
  expect(batch.rows).toBe(2);
  expect(batch.faults[1]).toMatchObject({ code, message: expect.stringMatching(message) });
  expect(Array.from(new Int16Array(batch.inputs[0]!.data))).toEqual([1, 2, 8, 9]);
});

test("a batch of nothing good has nothing to run", () => {
  expect(assemble(describe(PAIR), [{ ...good, rows: 0 }])).toMatchObject({ rows: 0, inputs: [], included: [] });
  const nothing = { rows: 0, inputs: [], included: [], faults: [], elements: 0, paddingElements: 0 };
  expect(assemble(describe(PAIR), [])).toMatchObject(nothing);
});

test("what the broker should not have put together is its fault, not the client's", () => {
  const small = describe(PAIR, { maxBatchSize: 2 });
  const { included, faults } = assemble(small, [good, pairItem([1, 2, 3], ["a"]), good, good]);
  expect(included).toEqual([0, 2]);
  expect(faults[1]).toMatchObject({ code: "internal", message: expect.stringMatching(/another inner shape/) });
  expect(faults[3]).toMatchObject({ code: "internal", message: expect.stringMatching(/larger than the 2 rows/) });
  const alone = describe(PAIR, { batching: false, maxBatchSize: 1 });
  expect(assemble(alone, [good, good]).faults[1]).toMatchObject({ code: "internal" });
});

test("a BOOL that is neither 0 nor 1 is refused; other runners than onnxruntime take any BYTES", () => {
  const flags = [{ name: "flags", datatype: "BOOL", shape: [FREE] }] as const;
  const item = itemOf(2, [{ ...flags[0], shape: [2], data: Uint8Array.of(1, 2) }]);
  expect(assemble(describe(flags), [item]).faults[0]).toMatchObject({ code: "invalid_value" });
  const raw = { ...good, payload: Buffer.from([1, 0, 2, 0, 1, 0, 0, 0, 0xff]) };
  expect(assemble(describe(PAIR, { platform: "simulated" }), [raw]).included).toEqual([0]);
});

test("a model that does not batch takes one request as it is, and gives all back", () => {
  const inputs = [{ name: "x", datatype: "INT8", shape: [FREE, 2] }] as const;
  const item = itemOf(1, [{ ...inputs[0], shape: [3, 2], data: Uint8Array.of(1, 2, 3, 4, 5, 6) }]);
  const batch = assemble(describe(inputs, { batching: false, maxBatchSize: 1 }), [item]);
  expect(batch.inputs).toMatchObject([{ shape: [3, 2] }]);
  const [answer] = split(batch.inputs, [1], { wantedOutputs: [[]] });
  expect(answer!.tensors).toEqual([{ name: "x", datatype: "INT8", shape: [3, 2], bytes: 6 }]);
  expect(Array.from(answer!.payload)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(answer!.payload.buffer).toBe(batch.inputs[0]!.data);
});

test("each request gets the outputs that it asks for, in its order; an unknown one is a fault of its own", () => {
  const { inputs } = assemble(describe(PAIR), [
    pairItem([1, 2], ["a"]),
    pairItem([3, 4], ["bb"]),
    pairItem([5, 6], [""]),
  ]);
  const answers = split(inputs, [1, 1, 1], { wantedOutputs: [["text", "ids"], ["nope"], ["text"]] });
  expect(answers[0]!.tensors.map(({ name, bytes }) => [name, bytes])).toEqual([
    ["text", 5],
    ["ids", 4],
  ]);
  expect(Array.from(answers[0]!.payload)).toEqual([1, 0, 0, 0, 97, 1, 0, 2, 0]);
  expect(answers[1]!.fault).toMatchObject({ code: "invalid_input", message: 'the model has no output "nope"' });
  expect(answers[2]!).toMatchObject({ tensors: [{ name: "text", shape: [1], bytes: 4 }], fault: undefined });
});

/** A model of up to three inputs, and items that fit it: sizes, datatypes and data at random. */
const batches = fc
  .record({
    specs: fc.array(
      fc.record({
        datatype: fc.constantFrom(...(Object.keys(DATATYPES) as Datatype[])),
        inner: fc.array(fc.record({ size: fc.nat({ max: 3 }), isFree: fc.boolean() }), { maxLength: 2 }),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    rowsPerItem: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 5 }),
  })
  .chain(({ specs, rowsPerItem }) =>
    fc.record({
      inputs: fc.constant(
        specs.map(({ datatype, inner }, i) => ({
          name: `input${i}`,
          datatype,
          shape: [FREE, ...inner.map(({ size, isFree }) => (isFree ? FREE : size))],
        })),
      ),
      items: fc.tuple(
        ...rowsPerItem.map((rows) =>
          fc
            .tuple(...specs.map(({ datatype, inner }) => dataOf(datatype, [rows, ...inner.map(({ size }) => size)])))
            .map((tensors) =>
              itemOf(
                rows,
                tensors.map((tensor, i) => ({ name: `input${i}`, ...tensor })),
              ),
            ),
        ),
      ),
    }),
  );

function dataOf(datatype: Datatype, shape: number[]) {
  const count = elementCount(shape);
  const exactly = { minLength: count, maxLength: count };
  if (datatype === "BYTES") {
    return fc
      .array(
        fc.string({ unit: "grapheme", maxLength: 3 }).filter((text) => !text.includes("\0")),
        exactly,
      )
      .map((texts) => ({ datatype, shape, data: new Uint8Array(encodeStrings(texts)) }));
  }
  const bytes = count * DATATYPES[datatype].bytes;
  return fc
    .uint8Array({ minLength: bytes, maxLength: bytes, ...(datatype === "BOOL" ? { max: 1 } : {}) })
    .map((data) => ({ datatype, shape, data }));
}

test("split after assemble gives every request of an echo model its own tensors back", () => {
  fc.assert(
    fc.property(batches, ({ inputs, items }) => {
      const batch = assemble(describe(inputs), items);
      expect(batch.faults.every((fault) => fault === undefined)).toBe(true);
      const echoed: BatchTensor[] = batch.inputs.map((tensor) => ({ ...tensor, data: tensor.data.slice(0) }));
      const answers = split(
        echoed,
        items.map(({ rows }) => rows),
        { wantedOutputs: items.map(() => []) },
      );
      for (const [i, { tensors, payload }] of answers.entries()) {
        expect(tensors).toEqual(items[i]!.tensors);
        expect(Buffer.compare(payload, items[i]!.payload)).toBe(0);
      }
    }),
    { seed: 1, numRuns: 200 },
  );
});

test("whatever an item holds, assemble does not throw, and the good one runs", () => {
  const anything = fc.record({
    rows: fc.oneof(fc.constant(1), fc.double()),
    tensors: fc.array(
      fc.record({
        name: fc.constantFrom("ids", "text", ""),
        datatype: fc.constantFrom<Datatype>("INT16", "BYTES", "FP32"),
        shape: fc.array(fc.oneof(fc.nat({ max: 3 }), fc.double()), { maxLength: 3 }),
        bytes: fc.oneof(fc.nat({ max: 16 }), fc.double()),
      }),
      { maxLength: 3 },
    ),
    payload: fc.uint8Array({ maxLength: 32 }),
  });
  fc.assert(
    fc.property(anything, (item) => {
      const batch = assemble(describe(PAIR), [good, item]);
      expect(batch.included[0]).toBe(0);
      for (const { datatype, shape, data } of batch.inputs) {
        if (datatype === "INT16") expect(data.byteLength).toBe(elementCount(shape) * 2);
      }
    }),
    { seed: 1, numRuns: 500 },
  );
});

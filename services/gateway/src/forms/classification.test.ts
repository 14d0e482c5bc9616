import { decodeStrings, elementCount, type Tensor } from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { classify } from "./classification.ts";
import { Refusal } from "../http/refusal.ts";

function tensor(datatype: Tensor["datatype"], shape: readonly number[], values: { buffer: ArrayBufferLike }): Tensor {
  return { name: "y", datatype, shape, data: new Uint8Array(values.buffer) };
}

/** Shape and texts, or the refusal. */
function classes(of: Tensor, count: number, hasBatch = true) {
  const result = classify(of, count, hasBatch);
  if (result instanceof Refusal) return `${result.code}: ${result.message}`;
  return [result.datatype, result.shape, decodeStrings(result.data, elementCount(result.shape))];
}

test("the highest of each row, the highest first, as Triton writes them", () => {
  const scores = tensor("FP32", [2, 3], Float32Array.of(0.25, 0.5, 0.125, -1, -3, -2));
  expect(classes(scores, 2)).toEqual(["BYTES", [2, 2], ["0.500000:1", "0.250000:0", "-1.000000:0", "-2.000000:2"]]);
  expect(classes(scores, 1, false)).toEqual(["BYTES", [1], ["0.500000:1"]]);
  expect(classes(scores, 9)[1]).toEqual([2, 3]);
});

test("equal values by index, NaN last, integers exact, rows of any rank as one list", () => {
  const doubles = tensor("FP64", [1, 2, 2], Float64Array.of(Number.NaN, 7, 1e300, 7));
  expect(classes(doubles, 4)).toEqual([
    "BYTES",
    [1, 4],
    [`${BigInt(1e300)}.000000:2`, "7.000000:1", "7.000000:3", "nan:0"],
  ]);
  expect(classes(tensor("INT64", [1, 2], BigInt64Array.of(2n ** 53n, 2n ** 53n + 1n)), 1)).toEqual([
    "BYTES",
    [1, 1],
    ["9007199254740993:1"],
  ]);
  expect(classes(tensor("INT8", [2], Int8Array.of(-1, 3)), 1)).toEqual(["BYTES", [2, 1], ["-1:0", "3:0"]]);
  expect(classes(tensor("FP32", [0, 3], new Float32Array(0)), 2)).toEqual(["BYTES", [0, 2], []]);
});

test("few or many classes of any values are those of a list in order", () => {
  const value = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constantFrom(Number.NaN, Infinity, -Infinity, -0));
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 100 }), fc.integer({ min: 1, max: 100 }), (row, count) => {
      const rank = (one: number): number => (Number.isNaN(one) ? -Infinity : one);
      const before = (a: number, b: number): boolean => rank(a) > rank(b);
      const inOrder = row
        .map((one, index) => ({ one, index }))
        .toSorted((a, b) => Number(before(b.one, a.one)) - Number(before(a.one, b.one)) || a.index - b.index);
      const [, , texts] = classes(tensor("FP64", [1, row.length], Float64Array.from(row)), count) as unknown[];
      const indices = (texts as string[]).map((text) => Number(text.split(":")[1]));
      expect(indices).toEqual(inOrder.slice(0, count).map(({ index }) => index));
    }),
    { numRuns: 1_000 },
  );
});

test("data at an odd address, and what has no order", () => {
  const bytes = new Uint8Array(9);
  bytes.set(new Uint8Array(Float32Array.of(1, 2).buffer), 1);
  expect(classes({ name: "y", datatype: "FP32", shape: [1, 2], data: bytes.subarray(1) }, 1)).toEqual([
    "BYTES",
    [1, 1],
    ["2.000000:1"],
  ]);
  for (const datatype of ["BYTES", "FP16", "BF16"] as const) {
    expect(classes(tensor(datatype, [1], new Uint8Array(2)), 1)).toBe(
      `unsupported: output "y": ${datatype} cannot be classified`,
    );
  }
  expect(classes(tensor("FP32", [3], Float32Array.of(1)), 1)).toMatch(/^internal/);
});

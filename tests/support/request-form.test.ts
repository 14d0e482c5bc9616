import { expect, test } from "vitest";
import { REQUEST_FORMS } from "./request-form.ts";
import type { PoolRow, RowPool } from "./row-pool.ts";

const row: PoolRow = { id: 0, inputTexts: ["1,2"], inputShapes: [[2]], outputs: [{ shape: [3], data: [4, 5, 6] }] };
const pool: RowPool = {
  model: "m",
  inputs: [{ name: "x", datatype: "FP32" }],
  outputs: [{ name: "y", datatype: "FP32" }],
  groups: [[row]],
};
const asked = { id: "r0", pool, rows: [row] };
const right = { id: "r0", model_name: "m", outputs: [{ name: "y", datatype: "FP32", shape: [1, 3], data: [4, 5, 6] }] };

test.each([
  [
    "oip",
    "/v2/models/m/infer",
    { id: "r0", inputs: [{ name: "x", shape: [1, 2], datatype: "FP32", data: [1, 2] }] },
    right,
  ],
  ["plain", "/inference", { data: [1, 2] }, { data: [4, 5, 6] }],
  ["lists", "/inference", { rows: [[1, 2]] }, [[4, 5, 6]]],
] as const)("%s: path, body and answer", (...[name, path, body, answer]) => {
  const form = REQUEST_FORMS[name];
  expect(form.path("m")).toBe(path);
  expect(JSON.parse(form.body("r0", pool, [row]) as string)).toEqual(body);
  expect(form.toOip(answer, asked)).toEqual(right);
});

test("several outputs follow one another, and what is too much shows", () => {
  const twice: PoolRow = { ...row, outputs: [{ shape: [], data: [7n] }, ...row.outputs] };
  const both = { ...pool, outputs: [{ name: "label", datatype: "INT64" } as const, ...pool.outputs] };
  expect(REQUEST_FORMS.plain.toOip({ data: [7, 4, 5, 6, 0] }, { id: "r0", pool: both, rows: [twice] })).toMatchObject({
    outputs: [
      { name: "label", shape: [1], data: [7] },
      { name: "y", shape: [1, 3], data: [4, 5, 6, 0] },
    ],
  });
});

test("what is no answer does not become one", () => {
  expect(REQUEST_FORMS.plain.toOip(null, asked)).toMatchObject({ outputs: [{ data: undefined }] });
  expect(REQUEST_FORMS.lists.toOip([[4], [5]], asked)).toMatchObject({ outputs: [{ data: undefined }] });
});

test("forms of one row refuse more", () => {
  expect(() => REQUEST_FORMS.plain.body("r0", pool, [row, row])).toThrow(RangeError);
});

test("oip-binary: JSON of a fixed length, then the numbers as bytes", () => {
  const form = REQUEST_FORMS["oip-binary"];
  const bytes = Buffer.from(form.body("r0", pool, [row, row]) as Uint8Array);
  const jsonBytes = Number(form.headers?.["inference-header-content-length"]);
  expect(JSON.parse(bytes.toString("utf8", 0, jsonBytes))).toEqual({
    id: "r0",
    inputs: [{ name: "x", shape: [2, 2], datatype: "FP32", parameters: { binary_data_size: 16 } }],
  });
  expect(bytes.subarray(jsonBytes)).toEqual(Buffer.from(Float32Array.of(1, 2, 1, 2).buffer));
  expect(form.toOip(right, asked)).toEqual(right);
});

import { encodeStrings, type ModelDescription, type Tensor } from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Refusal } from "../http/refusal.ts";
import { testModel } from "../testing.ts";
import { parseTfsRequest, tfsResponse } from "./tfs-form.ts";

const one = testModel({ inputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }] });
const two = testModel({
  inputs: [
    { name: "a", datatype: "INT64", shape: [-1] },
    { name: "b", datatype: "BYTES", shape: [-1, 2] },
  ],
});

function parse(request: unknown, model: ModelDescription = one) {
  const text = typeof request === "string" ? request : JSON.stringify(request);
  const result = parseTfsRequest(Buffer.from(text), model);
  return result instanceof Refusal ? `${result.code}: ${result.message}` : result;
}

const floats = (...values: number[]): Buffer => Buffer.from(Float32Array.from(values).buffer);

test.each<[string, unknown]>([
  [
    "rows, bare",
    {
      instances: [
        [1, 2],
        [3, 4],
      ],
    },
  ],
  ["rows, named", { instances: [{ x: [1, 2] }, { x: [3, 4] }] }],
  [
    "columns, bare",
    {
      inputs: [
        [1, 2],
        [3, 4],
      ],
    },
  ],
  [
    "columns, named",
    {
      signature_name: "serving_default",
      inputs: {
        x: [
          [1, 2],
          [3, 4],
        ],
      },
    },
  ],
])("%s", (_, request) => {
  const result = parse(request);
  if (typeof result === "string") throw new Error(result);
  expect(result).toMatchObject({ rows: 2, inputs: [{ name: "x", shape: [2, 2] }] });
  expect(result.isColumnar).toBe("inputs" in (request as object));
  expect(Buffer.from(result.payload)).toEqual(floats(1, 2, 3, 4));
});

test("several inputs, exact integers, texts and bytes in base64", () => {
  const expected = Buffer.concat([
    Buffer.from(BigInt64Array.of(9007199254740993n, -1n).buffer),
    encodeStrings(["é", Buffer.of(0, 255), "", Buffer.alloc(0)]),
  ]);
  const cells = '[["é",{"b64":"AP8="}],["",{"b64":""}]]';
  const [first, second] = ['["é",{"b64":"AP8="}]', '["",{"b64":""}]'];
  for (const text of [
    `{"inputs":{"b":${cells},"a":[9007199254740993,-1]}}`,
    `{"instances":[{"a":9007199254740993,"b":${first}},{"b":${second},"a":-1}]}`,
  ]) {
    const result = parse(text, two);
    if (typeof result === "string") throw new Error(result);
    expect(Buffer.from(result.payload)).toEqual(expected);
  }
});

test("a row that is one element, of numbers and of bytes; a model without a batch", () => {
  const scalars = testModel({ inputs: [{ name: "x", datatype: "FP32", shape: [-1] }] });
  expect(parse({ instances: [1, 2, 3] }, scalars)).toMatchObject({ rows: 3, inputs: [{ shape: [3] }] });
  const texts = testModel({ inputs: [{ name: "x", datatype: "BYTES", shape: [-1] }] });
  expect(parse({ instances: [{ b64: "YQ==" }, "b"] }, texts)).toMatchObject({ rows: 2 });
  expect(parse({ instances: [{ x: { b64: "YQ==" } }] }, texts)).toMatchObject({ rows: 1 });
  const bare = testModel({ batching: false, maxBatchSize: 1, inputs: [{ name: "x", datatype: "FP32", shape: [] }] });
  expect(parse({ inputs: 5 }, bare)).toMatchObject({ rows: 1, inputs: [{ shape: [] }] });
});

test.each<[string, unknown, ModelDescription?]>([
  ["invalid_request: the body must be a JSON object, it is an array", []],
  ['invalid_request: give either "instances" (rows) or "inputs" (columns)', {}],
  ['invalid_request: give either "instances" (rows) or "inputs" (columns)', { instances: [[1, 2]], inputs: [[1, 2]] }],
  ['invalid_request: no signature "other", only "serving_default"', { signature_name: "other", instances: [[1, 2]] }],
  ['invalid_request: "instances" must be an array of rows, it is an array', { instances: [] }],
  ['invalid_request: "instances" must be an array of rows, it is 1', { instances: 1 }],
  ["invalid_request: instances[1] must be an object of inputs, it is an array", { instances: [{ x: [1, 2] }, [3, 4]] }],
  ['invalid_input: missing input "x"', { instances: [{ y: [1, 2] }] }],
  ['invalid_input: unknown input "y"; the model\'s inputs are "x"', { inputs: { x: [[1, 2]], y: 1 } }],
  ['invalid_input: model "echo" has the inputs "a", "b": give each by its name', { instances: [[1, 2]] }, two],
  ['invalid_shape: input "x" has shape [-1,2]: nest the data 2 deep, it is 1 deep', { instances: [1, 2] }],
  ['invalid_shape: input "x" has shape [-1,2]: nest the data 2 deep, it is 3 or more deep', { inputs: [[[1, 2]]] }],
  ['invalid_shape: input "x": expected shape [-1,2], given [1,3]', { instances: [[1, 2, 3]] }],
  [
    'invalid_value: input "b": element 1 is an object, BYTES needs a string',
    { inputs: { a: [1], b: [["x", { b64: "=AA=" }]] } },
    two,
  ],
  [
    'invalid_value: input "b": element 0 is an object, BYTES needs a string',
    { inputs: { a: [1], b: [[{ b64: 1 }, ""]] } },
    two,
  ],
])("%s", (expected, request, model) => {
  expect(parse(request, model)).toBe(expected);
});

const y: Tensor = { name: "y", datatype: "FP32", shape: [2, 2], data: floats(1, 2.5, 3, 4) };
const raw: Tensor = {
  name: "raw_bytes",
  datatype: "BYTES",
  shape: [2],
  data: encodeStrings([Buffer.of(0, 255), "a"]),
};
const modelOf = (...outputs: Tensor[]): ModelDescription => testModel({ outputs });

test("answers as rows and as columns, bare and named; bytes in base64 where the name says so", () => {
  const text = (outputs: readonly Tensor[], isColumnar: boolean) =>
    tfsResponse(modelOf(...outputs), outputs, { isColumnar });
  expect(text([y], false)).toBe('{"predictions":[[1,2.5],[3,4]]}');
  expect(text([y], true)).toBe('{"outputs":[[1,2.5],[3,4]]}');
  expect(text([y, raw], false)).toBe(
    '{"predictions":[{"y":[1,2.5],"raw_bytes":{"b64":"AP8="}},{"y":[3,4],"raw_bytes":{"b64":"YQ=="}}]}',
  );
  expect(text([y, raw], true)).toBe('{"outputs":{"y":[[1,2.5],[3,4]],"raw_bytes":[{"b64":"AP8="},{"b64":"YQ=="}]}}');
  expect(text([{ ...raw, name: "raw" }], false)).toMatchObject({ code: "output_not_json" });
  const scalar: Tensor = { name: "s", datatype: "FP32", shape: [], data: floats(7) };
  expect(text([scalar], true)).toBe('{"outputs":7}');
  expect(text([y, scalar], false)).toMatchObject({ code: "invalid_request" });
  expect(tfsResponse(modelOf(y, raw), [y], { isColumnar: true })).toMatchObject({ code: "internal" });
});

test("never throws on any JSON, and every refusal has a message", () => {
  const rows = fc.oneof(
    fc.jsonValue(),
    fc.array(fc.record({ a: fc.jsonValue(), b: fc.jsonValue() }, { requiredKeys: [] })),
  );
  const request = fc.record({ signature_name: fc.jsonValue(), instances: rows, inputs: rows }, { requiredKeys: [] });
  fc.assert(
    fc.property(fc.oneof(request, fc.jsonValue()), fc.constantFrom(one, two), (value, model) => {
      const result = parseTfsRequest(Buffer.from(JSON.stringify(value)), model);
      return !(result instanceof Refusal) || result.message !== "";
    }),
    { numRuns: 1000 },
  );
});

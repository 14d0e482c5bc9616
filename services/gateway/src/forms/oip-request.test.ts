import type { ModelDescription } from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ALL_JSON } from "./binary-body.ts";
import { parseOipRequest } from "./oip-request.ts";
import { Refusal } from "../http/refusal.ts";
import { testModel } from "../testing.ts";

const model = testModel({
  name: "two",
  inputs: [
    { name: "a", datatype: "FP32", shape: [-1, 2] },
    { name: "b", datatype: "INT64", shape: [-1] },
  ],
  outputs: [
    { name: "y", datatype: "FP32", shape: [-1, 2] },
    { name: "__proto__", datatype: "FP32", shape: [-1, 2] },
  ],
});

const a = { name: "a", datatype: "FP32", shape: [2, 2], data: [1, 2, 3, 4] };
const b = { name: "b", datatype: "INT64", shape: [2], data: [5, 6] };

/** The request, or the refusal's code and message. */
function parse(request: unknown, of: ModelDescription = model) {
  const text = typeof request === "string" ? request : JSON.stringify(request);
  const result = parseOipRequest(Buffer.from(text), of, ALL_JSON);
  return result instanceof Refusal ? `${result.code}: ${result.message}` : result;
}

test("inputs in any order become the model's order and one payload", () => {
  const result = parse({ id: "7", inputs: [b, a] });
  if (typeof result === "string") throw new Error(result);
  expect(result).toMatchObject({ id: "7", rows: 2, bucket: "", cost: 2, outputs: [], timeoutMs: 0, priority: 0 });
  expect(result.inputs.map(({ name, shape }) => ({ name, shape }))).toEqual([
    { name: "a", shape: [2, 2] },
    { name: "b", shape: [2] },
  ]);
  const expected = Buffer.concat([
    Buffer.from(Float32Array.of(1, 2, 3, 4).buffer),
    Buffer.from(BigInt64Array.of(5n, 6n).buffer),
  ]);
  expect(Buffer.from(result.payload)).toEqual(expected);
  expect(Buffer.concat(result.inputs.map(({ data }) => data))).toEqual(expected);
});

test("a single input is its own payload, without a copy", () => {
  const result = parse({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data: [[1, 2, 3, 4]] }] }, testModel());
  if (typeof result === "string") throw new Error(result);
  expect(result.payload).toBe(result.inputs[0]?.data);
});

test("free inner dimensions name the bucket, a long one its digest", () => {
  const free = testModel({
    inputs: [
      { name: "a", datatype: "INT8", shape: [-1, -1, 2] },
      { name: "b", datatype: "INT8", shape: [-1, -1] },
    ],
  });
  const inputs = [
    { name: "a", datatype: "INT8", shape: [1, 3, 2], data: [1, 2, 3, 4, 5, 6] },
    { name: "b", datatype: "INT8", shape: [1, 0], data: [] },
  ];
  expect(parse({ inputs }, free)).toMatchObject({ rows: 1, bucket: "3,2|0" });
  const many = Array.from({ length: 100 }, (_, i) => `i${i}`);
  const wide = testModel({ inputs: many.map((name) => ({ name, datatype: "INT8", shape: [-1, -1, 10] })) });
  const data = Array(10).fill(0);
  const given = many.map((name) => ({ name, datatype: "INT8", shape: [1, 1, 10], data }));
  const result = parse({ inputs: given }, wide);
  expect(result).toMatchObject({ bucket: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) as string });
});

test("a model without a batch dimension takes its shape as one row", () => {
  const plain = testModel({ batching: false, maxBatchSize: 1, inputs: [{ name: "x", datatype: "INT8", shape: [-1] }] });
  const input = (size: number) => ({ name: "x", datatype: "INT8", shape: [size], data: Array(size).fill(1) });
  expect(parse({ inputs: [input(3)] }, plain)).toMatchObject({ rows: 1, bucket: "3" });
  expect(parse({ inputs: [input(0)] }, plain)).toMatchObject({ rows: 1, bucket: "0" });
});

test("integers beyond 2^53 are exact, nested or flat, beside floats", () => {
  const text = (data: string) =>
    `{"inputs":[{"name":"b","datatype":"INT64","shape":[2],"data":${data}},{"name":"a","datatype":"FP32","shape":[2,2],"data":[1,100000000000000000000,3,4]}]}`;
  const result = parse(text("[9007199254740993,-9223372036854775808]"));
  if (typeof result === "string") throw new Error(result);
  expect(new BigInt64Array(new Uint8Array(result.inputs[1]!.data).buffer)).toEqual(
    BigInt64Array.of(9007199254740993n, -9223372036854775808n),
  );
  expect(new Float32Array(new Uint8Array(result.inputs[0]!.data).buffer)[1]).toBe(Math.fround(1e20));
  expect(parse(text("[9223372036854775808,0]"))).toMatch(/^invalid_value: .* element 0 is 9223372036854775808/);
  expect(parse(text("[1e3,9007199254740993.5]"))).toMatch(/^invalid_value/);
  expect(parse(text("[1e3,1.5]"))).toMatch(/^invalid_value: .* element 1 is 1.5/);
  expect(typeof parse(text("[1e3,1e18]"))).toBe("object");
});

test("parameters and outputs", () => {
  const parameters = { timeout: 2500, priority: 3, binary_data_output: false };
  const outputs = [{ name: "__proto__", parameters: { binary_data: false } }, { name: "y" }];
  expect(parse({ inputs: [a, b], parameters, outputs })).toMatchObject({
    timeoutMs: 2.5,
    priority: 3,
    outputs: ["__proto__", "y"],
  });
  expect(typeof parse({ id: null, inputs: [a, b], parameters: null, outputs: null })).toBe("object");
});

const float4 = { name: "x", datatype: "FP32", shape: [1, 4] };

test.each<[string, unknown]>([
  ["invalid_request: the body must be a JSON object, it is an array", []],
  ["invalid_request: the body must be a JSON object, it is null", null],
  ['invalid_request: "inputs" must be an array of tensors, it is nothing', {}],
  ['invalid_request: "id" must be a string, it is 5', { id: 5, inputs: [a, b] }],
  ["invalid_request: inputs[0] must be an object, it is 1", { inputs: [1] }],
  ["invalid_request: inputs[0].name must be a string, it is an object", { inputs: [{ ...a, name: {} }] }],
  ['invalid_input: unknown input "c"; the model\'s inputs are "a", "b"', { inputs: [a, { ...b, name: "c" }] }],
  [
    'invalid_input: unknown input "constructor"; the model\'s inputs are "a", "b"',
    { inputs: [{ name: "constructor" }] },
  ],
  ['invalid_input: input "a" is given twice', { inputs: [a, a] }],
  ['invalid_input: missing input "b"', { inputs: [a] }],
  ['invalid_input: missing input "a", "b"', { inputs: [] }],
  ['invalid_input: input "b" has no data; an array is expected', { inputs: [a, { ...b, data: undefined }] }],
  ['invalid_input: input "b" has data that is 5; an array is expected', { inputs: [a, { ...b, data: 5 }] }],
  ['invalid_datatype: input "a": unknown datatype "float", expected FP32', { inputs: [{ ...a, datatype: "float" }] }],
  [
    'invalid_datatype: input "a": unknown datatype "toString", expected FP32',
    { inputs: [{ ...a, datatype: "toString" }] },
  ],
  ['invalid_datatype: input "a": expected datatype FP32, given FP64', { inputs: [{ ...a, datatype: "FP64" }] }],
  ['invalid_shape: input "a": expected shape [-1,2], given [2,3]', { inputs: [{ ...a, shape: [2, 3] }] }],
  ['invalid_shape: input "a": expected shape [-1,2], given [4]', { inputs: [{ ...a, shape: [4] }] }],
  [
    'invalid_shape: input "a": expected shape [-1,2], given [4294967296,2]',
    { inputs: [{ ...a, shape: [2 ** 32, 2] }] },
  ],
  [
    'invalid_shape: input "a": "shape" must be an array of sizes (integers, 0 or more)',
    { inputs: [{ ...a, shape: [-1, 2] }] },
  ],
  [
    'invalid_shape: input "a": "shape" must be an array of sizes (integers, 0 or more)',
    { inputs: [{ ...a, shape: "2" }] },
  ],
  ['invalid_shape: input "a": a request needs at least one row', { inputs: [{ ...a, shape: [0, 2], data: [] }] }],
  ['invalid_shape: input "b" has 3 rows, input "a" has 2', { inputs: [a, { ...b, shape: [3], data: [1, 2, 3] }] }],
  ['invalid_shape: input "a": shape [2,2] has 4 elements, data has 3', { inputs: [{ ...a, data: [1, 2, 3] }] }],
  [
    'too_many_rows: input "a" has 9 rows, model "two" takes at most 8 a request',
    { inputs: [{ ...a, shape: [9, 2], data: [] }] },
  ],
  [
    'invalid_value: input "a": element 3 is null, FP32 needs a number of at most 3.4028235e38',
    { inputs: [{ ...a, data: [1, 2, 3, null] }] },
  ],
  ['invalid_request: "outputs" must be an array, it is an object', { inputs: [a, b], outputs: {} }],
  ['invalid_request: outputs[0] must be an object with a "name"', { inputs: [a, b], outputs: ["y"] }],
  [
    'invalid_request: unknown output "z"; the model\'s outputs are "y", "__proto__"',
    { inputs: [a, b], outputs: [{ name: "z" }] },
  ],
  ['invalid_request: output "y" is asked for twice', { inputs: [a, b], outputs: [{ name: "y" }, { name: "y" }] }],
  ['invalid_request: "parameters" must be an object, it is 1', { inputs: [a, b], parameters: 1 }],
  [
    'invalid_request: parameter "timeout" must be microseconds, an integer of 0 or more, it is -1',
    { inputs: [a, b], parameters: { timeout: -1 } },
  ],
  [
    'invalid_request: parameter "priority" must be an integer of 0 or more, it is "1"',
    { inputs: [a, b], parameters: { priority: "1" } },
  ],
  [
    'invalid_request: parameter "triton_x": names that start with "triton_" are reserved',
    { inputs: [a, b], parameters: { triton_x: 1 } },
  ],
  ['invalid_request: parameter "priority" must be 0 to 3, it is 4', { inputs: [a, b], parameters: { priority: 4 } }],
  ['unsupported: parameter "sequence_id" is not supported', { inputs: [a, b], parameters: { sequence_id: 1 } }],
  [
    'invalid_request: parameter "binary_data_output" must be true or false, it is 1',
    { inputs: [a, b], parameters: { binary_data_output: 1 } },
  ],
  [
    'invalid_input: input "a" has both "data" and "binary_data_size"',
    { inputs: [{ ...a, parameters: { binary_data_size: 16 } }] },
  ],
  [
    'invalid_request: input "a": "binary_data_size" is 16, the body has 0 bytes left',
    { inputs: [{ ...a, data: null, parameters: { binary_data_size: 16 } }] },
  ],
  [
    'invalid_request: input "a": parameter "binary_data_size" must be a number of bytes, 0 or more, it is -1',
    { inputs: [{ ...a, parameters: { binary_data_size: -1 } }] },
  ],
  [
    'unsupported: input "a": parameter "shared_memory_region" is not supported',
    { inputs: [{ ...a, parameters: { shared_memory_region: "r" } }] },
  ],
  [
    'invalid_request: output "y": parameter "classification" must be a number of classes, 0 or more, it is "3"',
    { inputs: [a, b], outputs: [{ name: "y", parameters: { classification: "3" } }] },
  ],
  [
    'invalid_request: output "y": parameter "binary_data" must be true or false, it is "yes"',
    { inputs: [a, b], outputs: [{ name: "y", parameters: { binary_data: "yes" } }] },
  ],
  [
    'unsupported: output "y": parameter "shared_memory_region" is not supported',
    { inputs: [a, b], outputs: [{ name: "y", parameters: { shared_memory_region: "r" } }] },
  ],
])("%s", (expected, request) => {
  expect(parse(request)).toBe(expected);
});

test("the form of each output: its own word, else the request's, and classes", () => {
  const choiceOf = (request: object) => {
    const result = parse({ inputs: [a, b], ...request });
    return typeof result === "string" ? result : result.choice;
  };
  const json = { isBinary: false, classes: 0 };
  const binary = { isBinary: true, classes: 0 };
  expect(choiceOf({})).toEqual({ names: [], forms: [], rest: json });
  expect(choiceOf({ parameters: { binary_data_output: true } })).toEqual({ names: [], forms: [], rest: binary });
  const outputs = [{ name: "y" }, { name: "__proto__", parameters: { binary_data: false, classification: 2 } }];
  expect(choiceOf({ parameters: { binary_data_output: true }, outputs })).toEqual({
    names: ["y", "__proto__"],
    forms: [binary, { isBinary: false, classes: 2 }],
    rest: binary,
  });
  const given = [{ name: "y", parameters: { binary_data: true, classification: 0 } }, { name: "__proto__" }];
  expect(choiceOf({ outputs: given })).toMatchObject({ forms: [binary, json] });
});

test("bodies that are not JSON, or nested beyond reason", () => {
  expect(parse("")).toBe("invalid_json: the body is empty; a JSON object is expected");
  expect(parse("{")).toMatch(/^invalid_json/);
  expect(parse('{"inputs":[NaN]}')).toMatch(/^invalid_json/);
  expect(parse("[".repeat(1_000_000))).toMatch(/^invalid_/);
  expect(parse("[".repeat(1_000_000) + "]".repeat(1_000_000))).toMatch(/^invalid_/);
  const bomb = "[".repeat(200_000) + "]".repeat(200_000);
  const input = (data: string) => `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":${data}}]}`;
  expect(parse(input(bomb), testModel())).toMatch(/^invalid_/);
  const long = testModel({ inputs: [{ name: "x", datatype: "INT64", shape: [-1, 1] }] });
  const exact = `{"inputs":[{"name":"x","datatype":"INT64","shape":[1,1],"data":[9007199254740993]}],"bomb":${bomb}}`;
  expect(parse(exact, long)).toMatch(/^invalid_json: the body is nested too deep/);
});

test("keys that objects inherit or clients smuggle do no harm", () => {
  const text = `{"__proto__":{"inputs":[]},"inputs":[{"__proto__":{"data":[1]},"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}`;
  expect(parse(text, testModel())).toMatchObject({ rows: 1 });
  expect(parse({ inputs: [{ ...float4, data: [1, 2, 3, 4] }], parameters: { constructor: 1 } }, testModel())).toBe(
    'unsupported: parameter "constructor" is not supported',
  );
});

test("never throws on any JSON, and every refusal has a message", () => {
  const anything = fc.oneof(
    fc.json(),
    fc
      .record(
        {
          id: fc.jsonValue(),
          inputs: fc.oneof(
            fc.jsonValue(),
            fc.array(
              fc.record(
                {
                  name: fc.oneof(fc.constantFrom("a", "b"), fc.jsonValue()),
                  datatype: fc.oneof(fc.constantFrom("FP32", "INT64"), fc.jsonValue()),
                  shape: fc.oneof(fc.constantFrom([1, 2], [2], [1]), fc.jsonValue()),
                  data: fc.oneof(fc.constantFrom([1, 2], [[1, 2]], [3]), fc.jsonValue()),
                  parameters: fc.jsonValue(),
                },
                { requiredKeys: [] },
              ),
            ),
          ),
          outputs: fc.jsonValue(),
          parameters: fc.jsonValue(),
        },
        { requiredKeys: [] },
      )
      .map((value) => JSON.stringify(value)),
    fc.string(),
  );
  fc.assert(
    fc.property(anything, (text) => {
      const result = parseOipRequest(Buffer.from(text), model, ALL_JSON);
      if (result instanceof Refusal) expect(result.message).not.toBe("");
      else expect(result.payload.byteLength).toBe(result.rows * 16);
    }),
    { numRuns: 1000 },
  );
});

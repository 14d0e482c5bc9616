import type { ModelDescription } from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parsePlainRequest, plainResponseText } from "./plain-form.ts";
import { Refusal } from "../http/refusal.ts";
import { testModel } from "../testing.ts";

function modelOf(shape: readonly number[], batching = true): ModelDescription {
  const tensor = { datatype: "FP32", shape } as const;
  return testModel({ batching, inputs: [{ name: "x", ...tensor }], outputs: [{ name: "y", ...tensor }] });
}

function parse(data: unknown, model: ModelDescription, more: object = {}) {
  const result = parsePlainRequest(Buffer.from(JSON.stringify({ data, ...more })), model);
  return result instanceof Refusal ? `${result.code}: ${result.message}` : result;
}

const shapeOf = (data: unknown, model: ModelDescription): unknown => {
  const result = parse(data, model);
  return typeof result === "string" ? result : [result.inputs[0]?.shape, result.isOneRow];
};

test("nesting gives the shape", () => {
  expect(shapeOf([1, 2, 3, 4], modelOf([-1, 4]))).toEqual([[1, 4], true]);
  expect(shapeOf([[1, 2, 3, 4]], modelOf([-1, 4]))).toEqual([[1, 4], false]);
  expect(
    shapeOf(
      [
        [1, 2],
        [3, 4],
      ],
      modelOf([-1, -1]),
    ),
  ).toEqual([[2, 2], false]);
  expect(shapeOf([1, 2, 3], modelOf([-1, -1]))).toEqual([[1, 3], true]);
  expect(
    shapeOf(
      [
        [1, 2],
        [3, 4],
      ],
      modelOf([-1, 2, 2]),
    ),
  ).toEqual([[1, 2, 2], true]);
  expect(
    shapeOf(
      [
        [
          [1, 2],
          [3, 4],
        ],
      ],
      modelOf([-1, 2, 2]),
    ),
  ).toEqual([[1, 2, 2], false]);
  expect(shapeOf([1, 2, 3, 4], modelOf([-1, 2, 2]))).toEqual([[1, 2, 2], true]);
  expect(shapeOf(5, modelOf([-1]))).toEqual([[1], true]);
  expect(shapeOf([5, 6], modelOf([-1]))).toEqual([[2], false]);
  expect(shapeOf([5, 6], modelOf([2], false))).toEqual([[2], false]);
  expect(shapeOf([1, 2, 3, 4], modelOf([2, 2], false))).toEqual([[2, 2], false]);
  expect(shapeOf(5, modelOf([], false))).toEqual([[], false]);
  expect(shapeOf({ x: [1, 2, 3, 4] }, modelOf([-1, 4]))).toEqual([[1, 4], true]);
});

test("data that does not fit says what would", () => {
  expect(shapeOf([1, 2, 3], modelOf([-1, 4]))).toBe('invalid_shape: input "x": expected shape [-1,4], given [1,3]');
  expect(shapeOf(1, modelOf([-1, 4]))).toBe(
    'invalid_shape: input "x" has shape [-1,4]: nest the data 1 deep (one row) or 2 deep (rows), it is 0 deep',
  );
  expect(shapeOf([1, 2, 3], modelOf([-1, 2, 2]))).toMatch(
    /^invalid_shape: .* 2 deep \(one row\) or 3 deep \(rows\), it is 1/,
  );
  expect(shapeOf([[[[1]]]], modelOf([-1, 4]))).toMatch(/it is 3 or more deep$/);
  expect(shapeOf([1, 2, 3], modelOf([2, 2], false))).toMatch(/nest the data 2 deep, it is 1 deep$/);
  expect(shapeOf([], modelOf([-1]))).toBe('invalid_shape: input "x": a request needs at least one row');
  expect(shapeOf([[1, 2], [3]], modelOf([-1, -1]))).toMatch(/^invalid_shape/);
  expect(shapeOf([[1, 2], 3], modelOf([-1, -1]))).toMatch(/^invalid_shape/);
  expect(
    shapeOf(
      Array.from({ length: 9 }, () => [1, 2, 3, 4]),
      modelOf([-1, 4]),
    ),
  ).toMatch(/^too_many_rows: .*9 rows.*at most 8/);
  expect(shapeOf([1, 2, "3", 4], modelOf([-1, 4]))).toMatch(/^invalid_value: input "x": element 2 is "3"/);
  expect(parsePlainRequest(Buffer.from("[]"), modelOf([-1, 4]))).toMatchObject({ code: "invalid_request" });
  expect(parsePlainRequest(Buffer.from("{}"), modelOf([-1, 4]))).toMatchObject({ message: '"data" is missing' });
  expect(parse([1, 2, 3, 4], modelOf([-1, 4]), { request_id: 5 })).toMatch(/^invalid_request: "request_id"/);
});

const two = testModel({
  inputs: [
    { name: "a", datatype: "FP32", shape: [-1, 2] },
    { name: "__proto__", datatype: "BYTES", shape: [-1] },
  ],
  outputs: [
    { name: "s", datatype: "BYTES", shape: [-1] },
    { name: "f", datatype: "FP32", shape: [-1, 2] },
  ],
});

test("several inputs by name", () => {
  const parseText = (text: string) => {
    const result = parsePlainRequest(Buffer.from(text), two);
    return result instanceof Refusal ? `${result.code}: ${result.message}` : result;
  };
  expect(parseText('{"data":{"__proto__":"text","a":[1,2]}}')).toMatchObject({ rows: 1, isOneRow: true });
  expect(parseText('{"data":{"__proto__":["t","u"],"a":[[1,2],[3,4]]}}')).toMatchObject({ rows: 2, isOneRow: false });
  expect(parseText('{"data":{"__proto__":["t","u"],"a":[1,2]}}')).toMatch(/^invalid_shape: .* either one row/);
  expect(parseText('{"data":{"__proto__":["t"],"a":[[1,2],[3,4]]}}')).toMatch(
    /^invalid_shape: .* has 1 rows, .* has 2/,
  );
  expect(parseText('{"data":{"a":[1,2]}}')).toBe('invalid_input: missing input "__proto__"');
  expect(parseText('{"data":{"__proto__":"t","a":[1,2],"b":1}}')).toBe('invalid_input: unknown input "b"');
  expect(parseText('{"data":[1,2]}')).toBe('invalid_input: "data" must be an object with the inputs "a", "__proto__"');
});

test("results: the only output nested, several by name, one row without the batch dimension", () => {
  const summary = { requestId: 'r"1', isOneRow: true, latencyMs: 1.23456, batchRows: 5 };
  const floats = (shape: readonly number[], ...values: number[]) =>
    ({ name: "y", datatype: "FP32", shape, data: new Uint8Array(Float32Array.from(values).buffer) }) as const;
  const model = modelOf([-1, 2]);
  expect(plainResponseText(model, [floats([1, 2], 1, 2)], summary)).toBe(
    '{"request_id":"r\\"1","result":[1,2],"latency_ms":1.235,"batch_size":5}',
  );
  const rows = plainResponseText(model, [floats([2, 2], 1, 2, 3, 4)], { ...summary, isOneRow: false });
  expect(rows).toContain('"result":[[1,2],[3,4]],');
  expect(plainResponseText(modelOf([-1]), [floats([1], 7)], summary)).toContain('"result":7,');
  const texts = { name: "s", datatype: "BYTES", shape: [1], data: Uint8Array.of(1, 0, 0, 0, 97) } as const;
  expect(plainResponseText(two, [{ ...floats([1, 2], 1, 2), name: "f" }, texts], summary)).toContain(
    '"result":{"s":"a","f":[1,2]},',
  );
  expect(plainResponseText(model, [floats([1, 1], Infinity)], summary)).toMatchObject({ code: "output_not_json" });
  expect(plainResponseText(model, [], summary)).toMatchObject({ code: "internal" });
});

test("never throws on any JSON", () => {
  fc.assert(
    fc.property(
      fc.json(),
      fc.constantFrom(modelOf([-1, 2]), modelOf([-1]), modelOf([2, 2], false), two),
      (data, model) => {
        const result = parsePlainRequest(Buffer.from(`{"data":${data}}`), model);
        expect(result instanceof Refusal ? result.message : result.inputs).not.toHaveLength(0);
      },
    ),
    { numRuns: 500 },
  );
});

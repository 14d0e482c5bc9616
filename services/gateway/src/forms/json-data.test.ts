import { DATATYPES, type Datatype, elementCount, type Tensor } from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseExact } from "./exact-integer.ts";
import { encodeData, NEEDS_EXACT } from "./json-data.ts";
import { flatText, nestedRows, nestedText } from "./json-text.ts";
import { Refusal } from "../http/refusal.ts";

/** What encoding a flat list gives: bytes, or the refusal's code and message. */
function encode(datatype: Datatype, values: readonly unknown[]): Uint8Array | string {
  const result = encodeData({ name: "x", datatype, shape: [values.length] }, values);
  if (result === NEEDS_EXACT) return "needs exact";
  return result instanceof Refusal ? `${result.code}: ${result.message}` : new Uint8Array(result);
}

const RANGES = {
  INT8: [-128, 127],
  INT16: [-32768, 32767],
  INT32: [-(2 ** 31), 2 ** 31 - 1],
  UINT8: [0, 255],
  UINT16: [0, 65535],
  UINT32: [0, 2 ** 32 - 1],
} as const;

const elements: Readonly<Record<string, fc.Arbitrary<number | bigint | boolean | string>>> = {
  BOOL: fc.boolean(),
  ...Object.fromEntries(Object.entries(RANGES).map(([name, [min, max]]) => [name, fc.integer({ min, max })])),
  UINT32: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
  INT64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  UINT64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  FP32: fc.float({ noNaN: true, noDefaultInfinity: true }),
  FP64: fc.double({ noNaN: true, noDefaultInfinity: true }),
  BYTES: fc.string({ unit: "grapheme" }),
};

/** JSON text of one element, exact for bigints. */
const textOf = (value: unknown): string => (typeof value === "bigint" ? String(value) : JSON.stringify(value));

const tensors = fc
  .constantFrom(...(Object.keys(elements) as Datatype[]))
  .chain((datatype) =>
    fc
      .array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 })
      .chain((shape) =>
        fc
          .array(elements[datatype]!, { minLength: elementCount(shape), maxLength: elementCount(shape) })
          .map((values) => ({ datatype, shape, values })),
      ),
  );

test("whatever is encoded comes back as the same text, flat and nested", () => {
  fc.assert(
    fc.property(tensors, ({ datatype, shape, values }) => {
      const flat = `[${values.map(textOf).join(",")}]`;
      const form = { name: "x", datatype, shape };
      const data = encodeData(form, parseExact(flat) as unknown[]);
      if (!(data instanceof Uint8Array)) throw new Error("refused");
      expect(data.byteOffset % 8).toBe(0);
      const tensor = { name: "x", datatype, shape, data };
      expect(flatText(tensor)).toBe(flat);

      const nested = nestedText(tensor);
      if (typeof nested !== "string" || shape.length === 0) return;
      const again = encodeData(form, parseExact(nested) as unknown[]);
      expect(again).toEqual(data);
    }),
    { numRuns: 500 },
  );
});

test("data at any alignment is read", () => {
  fc.assert(
    fc.property(tensors, fc.integer({ min: 1, max: 7 }), ({ datatype, shape, values }, shift) => {
      const data = encodeData({ name: "x", datatype, shape }, values);
      if (!(data instanceof Uint8Array)) return;
      const moved = new Uint8Array(new ArrayBuffer(data.byteLength + shift), shift);
      moved.set(data);
      const tensor = { name: "x", datatype, shape, data };
      expect(nestedText({ ...tensor, data: moved })).toBe(nestedText(tensor));
    }),
  );
});

test.each(Object.entries(RANGES))("%s takes its range and nothing else", (datatype, [min, max]) => {
  const type = datatype as Datatype;
  expect(encode(type, [min, max])).toBeInstanceOf(Uint8Array);
  for (const value of [min - 1, max + 1, 0.5, true, "1", null, [1], {}]) {
    expect(encode(type, [0, value])).toMatch(
      /^invalid_value: input "x": element 1 is .*, U?INT\d+ needs an integer from/,
    );
  }
});

test("64-bit integers", () => {
  expect(encode("INT64", [-1, 2 ** 40, -(2 ** 40) - 1])).toEqual(
    new Uint8Array(BigInt64Array.of(-1n, 2n ** 40n, -(2n ** 40n) - 1n).buffer),
  );
  expect(encode("UINT64", [2 ** 53 - 1])).toEqual(new Uint8Array(BigUint64Array.of(2n ** 53n - 1n).buffer));
  expect(encode("INT64", [2 ** 53])).toBe("needs exact");
  expect(encode("INT64", [2n ** 63n - 1n])).toBeInstanceOf(Uint8Array);
  expect(encode("INT64", [2n ** 63n])).toMatch(/^invalid_value: input "x": element 0 is 9223372036854775808, INT64/);
  expect(encode("UINT64", [0, 1, -1])).toMatch(/^invalid_value: input "x": element 2 is -1/);
  expect(encode("UINT64", [1e300])).toMatch(/^invalid_value/);
  expect(encode("INT64", [0.5])).toMatch(/^invalid_value/);
});

test("floats: finite numbers that do not overflow", () => {
  expect(encode("FP32", [3.4028234663852886e38, -3.4028235e38, 1e-50, 0.1])).toEqual(
    new Uint8Array(Float32Array.of(3.4028234663852886e38, -3.4028235e38, 0, 0.1).buffer),
  );
  for (const value of [3.5e38, -3.4028235677973366e38, Infinity, null, "NaN", true]) {
    expect(encode("FP32", [value])).toMatch(/^invalid_value/);
  }
  expect(encode("FP64", [1.7e308])).toBeInstanceOf(Uint8Array);
  expect(encode("FP64", [Infinity])).toMatch(/^invalid_value/);
  expect(encode("FP32", [10n ** 20n])).toEqual(encode("FP32", [1e20]));
});

test("booleans also as 0 and 1, strings only as strings", () => {
  expect(encode("BOOL", [true, false, 1, 0])).toEqual(Uint8Array.of(1, 0, 1, 0));
  expect(encode("BOOL", [2])).toMatch(/^invalid_value/);
  expect(encode("BYTES", ["a", ""])).toEqual(Uint8Array.of(1, 0, 0, 0, 97, 0, 0, 0, 0));
  expect(encode("BYTES", ["a", 1])).toMatch(/^invalid_value: input "x": element 1 is 1, BYTES needs a string/);
});

test("half floats travel in binary only", () => {
  for (const datatype of ["FP16", "BF16"] as const) {
    expect(encode(datatype, [1])).toBe(`invalid_datatype: input "x": ${datatype} can be sent in binary form only`);
  }
});

test("nesting must agree with the shape", () => {
  const form = { name: "x", datatype: "INT8", shape: [2, 3] } as const;
  const message = (data: readonly unknown[]): string => {
    const result = encodeData(form, data);
    return result instanceof Refusal ? `${result.code}: ${result.message}` : "taken";
  };
  expect(message([1, 2, 3, 4, 5, 6])).toBe("taken");
  expect(
    message([
      [1, 2, 3],
      [4, 5, 6],
    ]),
  ).toBe("taken");
  expect(message([1, 2])).toBe('invalid_shape: input "x": shape [2,3] has 6 elements, data has 2');
  expect(message([[1, 2, 3]])).toBe(
    'invalid_shape: input "x": shape [2,3] needs an array of 2 at depth 0, data has an array of 1',
  );
  expect(message([[1, 2, 3], 4])).toBe(
    'invalid_shape: input "x": shape [2,3] needs an array of 3 at depth 1, data has 4',
  );
  expect(
    message([
      [1, 2, 3],
      [4, 5],
    ]),
  ).toMatch(/^invalid_shape/);
  expect(
    message([
      [[1], 2, 3],
      [4, 5, 6],
    ]),
  ).toMatch(/^invalid_value: .* element 0 is an array/);
  expect(message([1, 2, 3, 4, 5, [6]])).toMatch(/^invalid_value/);
});

test("what JSON cannot carry is refused on the way out", () => {
  const tensor = (datatype: Datatype, data: ArrayBufferLike | Uint8Array, shape = [1]) => {
    const result = flatText({
      name: "y",
      datatype,
      shape,
      data: data instanceof Uint8Array ? data : new Uint8Array(data),
    });
    return result instanceof Refusal ? `${result.code}: ${result.message}` : result;
  };
  expect(tensor("FP32", Float32Array.of(Number.NaN).buffer)).toBe(
    'output_not_json: output "y" holds NaN at element 0; JSON cannot carry it',
  );
  expect(tensor("FP64", Float64Array.of(-Infinity).buffer)).toMatch(/^output_not_json/);
  expect(tensor("FP16", Uint16Array.of(0).buffer)).toMatch(/^output_not_json/);
  expect(tensor("BYTES", Uint8Array.of(1, 0, 0, 0, 0xff))).toMatch(/^output_not_json/);
  expect(tensor("FP32", Float32Array.of(1, 2).buffer)).toBe('internal: output "y": shape [1] needs 4 bytes, has 8');
  expect(tensor("INT64", BigInt64Array.of(2n ** 63n - 1n, 1n).buffer, [2])).toBe("[9223372036854775807,1]");
});

test("zeros keep their sign, in a form that no parser takes for an integer", () => {
  const values = [-0, 0, 1.5, -0, 1e21, 5e-324, -1];
  const tensor = (datatype: "FP32" | "FP64", given: { buffer: ArrayBuffer }): Tensor => ({
    name: "y",
    datatype,
    shape: [1, values.length],
    data: new Uint8Array(given.buffer),
  });
  expect(flatText(tensor("FP64", Float64Array.from(values)))).toBe("[-0.0,0,1.5,-0.0,1e+21,5e-324,-1]");
  expect(nestedText(tensor("FP64", Float64Array.from(values)))).toBe("[[-0.0,0,1.5,-0.0,1e+21,5e-324,-1]]");
  expect(JSON.parse(flatText(tensor("FP32", Float32Array.from(values))) as string)).toEqual([
    ...Float32Array.from(values),
  ]);
});

test("a shape without elements makes no more lists than an answer may have", () => {
  const hollow = (shape: number[]): Tensor => ({ name: "y", datatype: "FP32", shape, data: new Uint8Array(0) });
  for (const shape of [
    [2 ** 40, 0],
    [2 ** 20, 2 ** 20, 0, 7],
  ]) {
    expect(flatText(hollow(shape))).toBe("[]");
    expect(nestedText(hollow(shape))).toMatchObject({ code: "answer_too_large" });
    expect(nestedRows(hollow(shape))).toMatchObject({ code: "answer_too_large" });
  }
  expect(nestedText(hollow([2, 0, 2 ** 50]))).toBe("[[],[]]");
  expect(nestedText(hollow([0, 2 ** 50]))).toBe("[]");
});

test("every datatype that JSON carries has elements here", () => {
  const carried = Object.entries(DATATYPES).filter(([, row]) => row.json);
  expect(Object.keys(elements).toSorted()).toEqual(carried.map(([name]) => name).toSorted());
});

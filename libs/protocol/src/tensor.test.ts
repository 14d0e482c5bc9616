import fc from "fast-check";
import { expect, test } from "vitest";
import { DATATYPES, type Datatype, datatypeOfCode, isDatatype } from "./datatype.ts";
import { bytesElementsEnd, decodeStrings, elementCount, encodeStrings, isWellSized } from "./tensor.ts";

// The same values in every run: a failure can be had again.
fc.configureGlobal({ seed: 1 });

test("datatypes are found by code and by name, and nothing else is one", () => {
  const names = Object.keys(DATATYPES) as Datatype[];
  expect(new Set(names.map((name) => DATATYPES[name].code)).size).toBe(names.length);
  for (const name of names) {
    expect(isDatatype(name)).toBe(true);
    expect(datatypeOfCode(DATATYPES[name].code)).toBe(name);
  }
  for (const other of ["fp32", "", "toString", "__proto__", 12, null, undefined, {}])
    expect(isDatatype(other)).toBe(false);
  for (const code of [0, -1, 15, 1.5, NaN, 2 ** 53]) expect(datatypeOfCode(code)).toBeUndefined();
});

test("a scalar has one element, a shape with a zero none", () => {
  expect(elementCount([])).toBe(1);
  expect(elementCount([2, 3, 4])).toBe(24);
  expect(elementCount([2, 0, 4])).toBe(0);
});

test("fixed-size data is well sized exactly when it has all its elements", () => {
  expect(isWellSized("FP32", [2, 3], Buffer.alloc(24))).toBe(true);
  expect(isWellSized("FP32", [2, 3], Buffer.alloc(23))).toBe(false);
  expect(isWellSized("FP32", [2, 3], Buffer.alloc(25))).toBe(false);
  expect(isWellSized("FP64", [0, 7], Buffer.alloc(0))).toBe(true);
  expect(isWellSized("INT8", [2 ** 53 - 1, 2 ** 53 - 1], Buffer.alloc(1))).toBe(false);
  expect(
    isWellSized(
      "INT8",
      Array.from({ length: 32 }, () => 2 ** 53 - 1),
      Buffer.alloc(1),
    ),
  ).toBe(false);
});

test("BYTES data is well sized exactly when its elements fill it", () => {
  const data = encodeStrings(["", "ab", "ü"]);
  expect(Buffer.from(data).toString("hex")).toBe("0000000002000000616202000000c3bc");
  expect(isWellSized("BYTES", [3], data)).toBe(true);
  expect(isWellSized("BYTES", [2], data)).toBe(false);
  expect(isWellSized("BYTES", [4], data)).toBe(false);
  expect(isWellSized("BYTES", [2 ** 53 - 1], data)).toBe(false);
  expect(isWellSized("BYTES", [1], Buffer.from("ffffffff78", "hex"))).toBe(false);
  for (let end = 0; end < data.length; end++) expect(isWellSized("BYTES", [3], data.subarray(0, end))).toBe(false);
});

test("BYTES data is cut at an element without being read as text", () => {
  const data = encodeStrings(["a", "bc", "def"]);
  expect([0, 1, 2, 3].map((count) => bytesElementsEnd(data, 0, count))).toEqual([0, 5, 11, 18]);
  expect(bytesElementsEnd(data, 5, 1)).toBe(11);
  expect(bytesElementsEnd(data, 18, 1)).toBe(-1);
});

test("strings come back as they were; half a surrogate pair and what is not UTF-8 do not pass for text", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "binary" })), (values) => {
      expect(decodeStrings(encodeStrings(values), values.length)).toEqual(values);
    }),
  );
  expect(decodeStrings(encodeStrings(["\ufeffbom"]), 1)).toEqual(["\ufeffbom"]);
  expect(decodeStrings(Buffer.from("01000000ff", "hex"), 1)).toBeUndefined();
  expect(decodeStrings(Buffer.from("0200000061", "hex"), 1)).toBeUndefined();
  expect(decodeStrings(Buffer.alloc(0), 2 ** 53 - 1)).toBeUndefined();
});

test("random data never throws", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.array(fc.maxSafeNat(), { maxLength: 4 }), (data, shape) => {
      for (const datatype of Object.keys(DATATYPES) as Datatype[]) isWellSized(datatype, shape, data);
      decodeStrings(data, elementCount(shape));
    }),
  );
});

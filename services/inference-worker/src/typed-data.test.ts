import { DATATYPES, type Datatype } from "@millrace/protocol";
import { expect, test } from "vitest";
import { fromNumbers, joinBytes, splitBytes, toNumbers } from "./typed-data.ts";

test.each((Object.keys(DATATYPES) as Datatype[]).filter((datatype) => datatype !== "BYTES"))(
  "%s there and back",
  (datatype) => {
    const values = Float64Array.of(1, 0, 1);
    const data = fromNumbers(datatype, values);
    expect(data.byteLength).toBe(3 * DATATYPES[datatype].bytes);
    expect(toNumbers(datatype, data)).toEqual(values);
  },
);

test("integers are cut and wrap around; what is no number is 0 in 64 bits", () => {
  expect(toNumbers("INT8", fromNumbers("INT8", Float64Array.of(-1.9, 200)))).toEqual(Float64Array.of(-1, -56));
  const wide = Float64Array.of(-1.9, Infinity, NaN);
  expect(toNumbers("INT64", fromNumbers("INT64", wide))).toEqual(Float64Array.of(-1, 0, 0));
});

test("BF16 rounds to the nearest, ties to even", () => {
  const bits = new Uint16Array(
    fromNumbers("BF16", Float64Array.of(1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, -2, Infinity, NaN)),
  );
  expect(Array.from(bits)).toEqual([0x3f80, 0x3f80, 0x3f82, 0xc000, 0x7f80, 0x7fc0]);
  expect(toNumbers("BF16", bits.buffer)).toEqual(Float64Array.of(1, 1, 1.015625, -2, Infinity, NaN));
});

test("BYTES elements keep their bytes", () => {
  const elements = [Uint8Array.of(), Uint8Array.of(0, 255), Uint8Array.of(1)];
  const data = joinBytes(elements);
  expect(splitBytes(data)).toEqual(elements);
  expect(toNumbers("BYTES", data)).toEqual(Float64Array.of(0, 255, 1));
  expect(() => splitBytes(data.slice(0, 7))).toThrow(RangeError);
});

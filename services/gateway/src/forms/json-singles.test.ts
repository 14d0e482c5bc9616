import fc from "fast-check";
import { expect, test } from "vitest";
import { readSingles, SINGLE_OVERFLOW } from "./json-singles.ts";

/** The singles in the text of an array, as numbers. */
function read(text: string, count: number): readonly number[] | undefined {
  const body = Buffer.from(`before[${text}]behind`);
  const bytes = readSingles(body, { from: 7, end: 7 + Buffer.byteLength(text), count });
  if (bytes === undefined) return undefined;
  expect(bytes.byteOffset % 8).toBe(0);
  return [...new Float32Array(bytes.buffer, bytes.byteOffset, count)];
}

/** Texts of numbers, mostly such as are hard to round: singles, their middles and what is next to these, with any number of digits. */
const bits = fc.integer({ min: 0, max: 0x7f7f_fffe });
const hard = fc.tuple(bits, fc.integer({ min: -6, max: 6 }), fc.boolean()).map(([bit, places, isMiddle]) => {
  const singles = new Float32Array(Uint32Array.of(bit, bit + 1).buffer);
  const double = Float64Array.of(isMiddle ? (singles[0]! + singles[1]!) / 2 : singles[0]!);
  const halves = new BigInt64Array(double.buffer);
  if (halves[0]! > 16n) halves[0]! += BigInt(places);
  return double[0]!;
});
const written = fc
  .tuple(
    fc.oneof(hard, fc.double({ noNaN: true, noDefaultInfinity: true, min: -3e38, max: 3e38 })),
    fc.constantFrom("shortest", "fixed", "precise", "exponent"),
    fc.integer({ min: 0, max: 40 }),
    fc.boolean(),
  )
  .map(([value, form, digits, isNegative]) => {
    const signed = isNegative ? -value : value;
    if (form === "fixed" && Math.abs(value) < 1e21) return signed.toFixed(digits);
    if (form === "precise") return signed.toPrecision(digits + 1);
    return form === "exponent" ? signed.toExponential(digits) : String(signed);
  });

test("every number is the single that JSON.parse and Float32Array make of it", () => {
  fc.assert(
    fc.property(
      fc.array(written, { minLength: 1, maxLength: 8 }),
      fc.constantFrom("", " ", "\n\t ", "\r\n"),
      (texts, space) => {
        const text = texts.join(`${space},${space}`);
        const values = [...Float32Array.from(JSON.parse(`[${text}]`) as number[])];
        const isInRange = texts.every((each) => Math.abs(Number(each)) < SINGLE_OVERFLOW);
        expect(read(`${space}${text}${space}`, texts.length)).toEqual(isInRange ? values : undefined);
      },
    ),
    { numRuns: 5000 },
  );
});

test("negative zero, the smallest and the largest are themselves", () => {
  expect(read("-0,-0.0e5,0,1e-45,1.1754943508222875e-38,3.4028234663852886e38", 6)).toEqual([
    -0, -0, 0, 1.401298464324817e-45, 1.1754943508222875e-38, 3.4028234663852886e38,
  ]);
});

test.each([
  ["", 1],
  ["1,2", 1],
  ["1,2", 3],
  ["1,", 2],
  [",1", 2],
  ["1 2", 2],
  ["01", 1],
  ["-01", 1],
  ["+1", 1],
  [".5", 1],
  ["1.", 1],
  ["1.e5", 1],
  ["1e", 1],
  ["1e+", 1],
  ["-", 1],
  ["--1", 1],
  ["1_0", 1],
  ["0x1", 1],
  ["NaN", 1],
  ["Infinity", 1],
  ["null", 1],
  ['"1"', 1],
  ["[1]", 1],
  ["1]", 1],
  ["3.5e38", 1],
  ["1e400", 1],
  ["\u00a01", 1],
])("%j is not %i numbers", (text, count) => {
  expect(read(text, count)).toBeUndefined();
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { exactInteger, parseExact } from "./exact-integer.ts";

test.each([
  ["0", 0n],
  ["-0", 0n],
  ["9007199254740993", 9007199254740993n],
  ["-9223372036854775808", -9223372036854775808n],
  ["18446744073709551615", 18446744073709551615n],
  ["1e19", 10000000000000000000n],
  ["1.8446744073709551615E+19", 18446744073709551615n],
  ["900719925474099300e-2", 9007199254740993n],
  ["9007199254740993.000", 9007199254740993n],
])("%s is exactly %s", (source, value) => {
  expect(exactInteger(source)).toBe(value);
});

test.each(["1.5", "9007199254740993.5", "1e21", "1e999999999", "1e-1", "", "x", "1".repeat(30)])(
  "%s is no integer of 64 bits",
  (source) => {
    expect(exactInteger(source)).toBeUndefined();
  },
);

test("a million digits take no time", () => {
  const from = performance.now();
  exactInteger(`1.${"0".repeat(500_000)}1${"0".repeat(500_000)}`);
  expect(performance.now() - from).toBeLessThan(500);
});

test("every integer of 64 bits survives in whatever nesting it stands", () => {
  const integers = fc.array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }));
  fc.assert(
    fc.property(integers, (values) => {
      const parsed = parseExact(`{"a":[[${values.join(",")}]]}`) as { a: unknown[][] };
      expect(parsed.a[0]?.map((value) => BigInt(value as number))).toEqual(values);
    }),
  );
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { isDeeperThan } from "./json-depth.ts";

function depthOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

test("the depth of any JSON value is found, whatever its strings hold", () => {
  const text = fc.string({ unit: fc.constantFrom("[", "{", "]", "}", '"', "\\", "a", "é") });
  const value = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 6 },
      text,
      fc.integer(),
      fc.array(tie("value"), { maxLength: 3 }),
      fc.dictionary(text, tie("value"), { maxKeys: 3 }),
    ),
  })).value;
  fc.assert(
    fc.property(value, fc.boolean(), (given, isSpaced) => {
      const json = JSON.stringify(given, null, isSpaced ? 1 : 0);
      const depth = depthOf(given);
      expect(isDeeperThan(json, depth)).toBe(false);
      if (depth > 0) expect(isDeeperThan(json, depth - 1)).toBe(true);
    }),
  );
});

test.each([
  ['["[[[[', 1, false],
  ["[".repeat(101), 100, true],
  ["[]".repeat(1000), 1, false],
  ['"\\\\"[[', 1, true],
  ['"\\"[[', 0, false],
  [`["${'\\"'.repeat(500_000)}[[`, 1, false],
])("what is no JSON, too: %#", (text, levels, expected) => {
  expect(isDeeperThan(text, levels)).toBe(expected);
});

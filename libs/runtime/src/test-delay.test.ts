import { expect, test } from "vitest";
import { parseTestDelay } from "./test-delay.ts";

test("parses stages and milliseconds", () => {
  expect([...parseTestDelay("")]).toEqual([]);
  expect([...parseTestDelay("compute:50, encode:0")]).toEqual([
    ["compute", 50],
    ["encode", 0],
  ]);
});

test.each([
  "lunch:5",
  "compute",
  "compute:",
  "compute:-1",
  "compute:1.5",
  "compute:60001",
  "compute:1:2",
  "compute:1,compute:2",
])("refuses %s", (text) => {
  expect(() => parseTestDelay(text)).toThrow(RangeError);
});

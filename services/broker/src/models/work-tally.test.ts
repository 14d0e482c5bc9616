import { expect, test } from "vitest";
import { SIZE_CLASSES, WorkTally } from "./work-tally.ts";

test("batches count in the class of their size", () => {
  const tally = new WorkTally();
  for (const rows of [1, 2, 3, 4, 5, 8, 9, 65_536, 65_537, 1_000_000]) tally.record(rows, 1);
  expect([...tally.sizes]).toEqual([1, 1, 2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
  expect([tally.batches, tally.computeMs, tally.sizes.length]).toEqual([10, 10, SIZE_CLASSES]);
});

test("the time of a class follows its batches", () => {
  const tally = new WorkTally();
  tally.record(8, 10);
  expect(tally.sizeMs[3]).toBe(10);
  tally.record(8, 20);
  expect(tally.sizeMs[3]).toBeCloseTo(11);
  for (let i = 0; i < 100; i++) tally.record(7, 20);
  expect(tally.sizeMs[3]).toBeCloseTo(20, 1);
});

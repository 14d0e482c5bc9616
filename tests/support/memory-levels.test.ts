import { expect, test } from "vitest";
import { type MemorySample, slopeOf } from "./memory-levels.ts";

const samples = (levels: readonly number[]): MemorySample[] =>
  levels.map((heap, minute) => ({ atMs: minute * 60_000, bytes: { heap } }));

test("a level that grows by a hundredth of its median in ten minutes, one outlier or none", () => {
  const growing = Array.from({ length: 11 }, (_, minute) => 995 + minute);
  const slope = slopeOf("heap", samples(growing));
  expect(slope).toMatchObject({ firstBytes: 995, lastBytes: 1005 });
  expect(slope.percentPerTenMinutes).toBeCloseTo(1, 6);
  expect(slopeOf("heap", samples(growing.with(7, 5_000))).percentPerTenMinutes).toBeCloseTo(1, 1);
});

test("what was not read, or but once, has no slope", () => {
  expect(slopeOf("heap", samples([1])).percentPerTenMinutes).toBeNaN();
  expect(slopeOf("rss", samples([1, 2])).percentPerTenMinutes).toBeNaN();
});

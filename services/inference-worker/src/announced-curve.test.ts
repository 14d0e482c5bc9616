import { expect, test } from "vitest";
import { announcedPoints, curveOf } from "./announced-curve.ts";

test("what a warm-up measured is announced with median, 95th percentile and count, in microseconds", () => {
  const timesMs = Array.from({ length: 20 }, (_, i) => 1 + i / 10);
  const points = curveOf([
    { rows: 1, timesMs: [0.0001] },
    { rows: 8, timesMs },
  ]).points();
  expect(announcedPoints("2x2", points)).toEqual([
    { rows: 1, q50Us: 1, q95Us: 1, samples: 1, bucket: "2x2" },
    { rows: 8, q50Us: 1_900, q95Us: 2_800, samples: 20, bucket: "2x2" },
  ]);
});

test("every run of a warm-up counts, also behind one that was odd", () => {
  const steady = Array.from({ length: 20 }, () => 5);
  const points = curveOf([
    { rows: 8, timesMs: [...steady, 500] },
    { rows: 16, timesMs: [9, 9, 9] },
  ]).points();
  expect(points).toMatchObject([
    { rows: 8, q50Ms: 5, samples: 21 },
    { rows: 16, q50Ms: 9, samples: 3 },
  ]);
});

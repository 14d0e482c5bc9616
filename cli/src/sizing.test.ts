import { describe, expect, test } from "vitest";
import { bestBatch, predict, sizeFor, type SizePoint, workersByLine } from "./sizing.ts";

/** The device of the simulator's table (bench/simulator/simulator.test.ts): 4 + 0.25 n ms, exactly. */
const LINE = { fixedMs: 4, rowMs: 0.25 };
const pointAt = (rows: number): SizePoint => ({ rows, q50Ms: 4 + 0.25 * rows, q95Ms: 4 + 0.25 * rows });
const POINTS = [1, 2, 4, 8, 16, 32, 64, 128, 256].map(pointAt);

describe("the batch size with the highest throughput within an SLO", () => {
  test.for([
    // n_max = (D / (1 + 1/N) − a) / b
    [20, 1, 24],
    [20, 8, 55],
    [20, 1_000_000, 63],
    [50, 1, 84],
    [1_000, 1, 256],
  ] as const)("%s ms with %s workers: %s rows", ([sloMs, workers, rows]) => {
    const best = bestBatch(POINTS, { sloMs, workers });
    expect(best).toEqual({ rows, q95Ms: 4 + 0.25 * rows, rowsPerSecond: (1000 * rows) / (4 + 0.25 * rows) });
  });

  test("none where one row alone takes too long", () => {
    expect(bestBatch(POINTS, { sloMs: 8.4, workers: 1 })).toBeUndefined();
    expect(bestBatch(POINTS, { sloMs: 8.5, workers: 1 })?.rows).toBe(1);
  });

  test("a larger batch that is slower is not taken", () => {
    const slower = [pointAt(1), pointAt(16), { rows: 32, q50Ms: 40, q95Ms: 41 }];
    expect(bestBatch(slower, { sloMs: 1_000, workers: 1 })?.rows).toBe(16);
  });

  test("the upper quantile is what has to keep the SLO, and the median what is done", () => {
    const spread = [1, 2, 4, 8].map((rows) => ({ rows, q50Ms: rows + 1, q95Ms: 2 * rows + 1 }));
    expect(bestBatch(spread, { sloMs: 18, workers: 1 })).toEqual({ rows: 4, q95Ms: 9, rowsPerSecond: 800 });
  });
});

test("between two measured sizes times lie on the straight line", () => {
  expect(predict([pointAt(1), pointAt(9)], 5)).toEqual(pointAt(5));
  expect(predict([pointAt(4)], 4)).toEqual(pointAt(4));
});

describe("workers for a rate", () => {
  test.for([
    // The table's λ_stag, where the formula is exact: 2,400, 5,600, 24,800 at 20 ms; 29,120 at 50.
    [2_400, 20, 1],
    [2_401, 20, 2],
    [5_600, 20, 2],
    [24_800, 20, 8],
    [24_801, 20, 9],
    [29_120, 50, 8],
    [0.001, 20, 1],
  ] as const)("%s rows a second within %s ms: %s", ([ratePerSecond, sloMs, workers]) => {
    expect(workersByLine(LINE, { ratePerSecond, sloMs })).toBe(workers);
  });

  test.for([
    // Batches are of whole rows: 37 in 13.25 ms, 55 in 17.75.
    [2_400, 20, 1],
    [2_401, 20, 2],
    [5_580, 20, 2],
    [5_600, 20, 3],
    [24_780, 20, 8],
  ] as const)("%s rows a second within %s ms, in batches of whole rows: %s", ([ratePerSecond, sloMs, workers]) => {
    expect(sizeFor({ points: POINTS, line: LINE }, { ratePerSecond, sloMs })?.workers).toBe(workers);
  });

  test("the batch size is the one for that many workers", () => {
    expect(sizeFor({ points: POINTS, line: LINE }, { ratePerSecond: 24_780, sloMs: 20 })).toMatchObject({ rows: 55 });
  });

  test("where the largest batch is small more are needed than the line says", () => {
    const points = [1, 2, 4].map(pointAt);
    const sizing = sizeFor({ points, line: LINE }, { ratePerSecond: 2_400, sloMs: 20 });
    // 4 rows in 5 ms: 800 a second.
    expect(sizing).toMatchObject({ rows: 4, workers: 3 });
  });

  test("a model that does not batch needs as many as its rows take, and none where it is too slow", () => {
    const curve = { points: [{ rows: 1, q50Ms: 10, q95Ms: 12 }], line: undefined };
    expect(sizeFor(curve, { ratePerSecond: 1_000, sloMs: 50 })).toMatchObject({ rows: 1, workers: 10 });
    expect(sizeFor(curve, { ratePerSecond: 1, sloMs: 10 })).toBeUndefined();
    expect(sizeFor({ points: POINTS, line: LINE }, { ratePerSecond: 1, sloMs: 4 })).toBeUndefined();
  });
});

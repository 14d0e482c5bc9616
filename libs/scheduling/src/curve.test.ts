import fc from "fast-check";
import { expect, test } from "vitest";
import { Curve, CURVE_SAMPLES } from "./curve.ts";

test("before the first sample nothing is predicted", () => {
  expect(new Curve().predict(1)).toBeUndefined();
});

test("a linear curve is met at, between and beyond the measured sizes", () => {
  const curve = new Curve();
  for (const rows of [1, 8, 64]) curve.record(rows, 4 + 0.25 * rows);
  for (const rows of [1, 4, 8, 30, 64, 128]) expect(curve.predict(rows)?.q50Ms).toBeCloseTo(4 + 0.25 * rows, 9);
});

test("a larger batch is never predicted faster, and q95 never below q50", () => {
  const sample = fc.tuple(fc.integer({ min: 1, max: 64 }), fc.double({ min: 0.001, max: 1000, noNaN: true }));
  fc.assert(
    fc.property(fc.array(sample, { minLength: 1, maxLength: 300 }), (samples) => {
      const curve = new Curve();
      for (const [rows, ms] of samples) curve.record(rows, ms);
      let before = { q50Ms: 0, q95Ms: 0 };
      for (let rows = 1; rows <= 100; rows++) {
        const now = curve.predict(rows)!;
        expect(now.q50Ms).toBeGreaterThan(0);
        expect(now.q50Ms).toBeGreaterThanOrEqual(before.q50Ms - 1e-9);
        expect(now.q95Ms).toBeGreaterThanOrEqual(before.q95Ms - 1e-9);
        expect(now.q95Ms).toBeGreaterThanOrEqual(now.q50Ms - 1e-9);
        before = now;
      }
    }),
  );
});

test("a step to twice the time is learned within the window", () => {
  const curve = new Curve();
  for (let i = 0; i < CURVE_SAMPLES; i++) curve.record(8, 10);
  for (let i = 0; i < CURVE_SAMPLES; i++) curve.record(8, 20);
  expect(curve.predict(8)).toMatchObject({ q50Ms: 20, q95Ms: 20 });
});

test("times that cannot be are ignored", () => {
  const curve = new Curve();
  for (const ms of [0, -1, Number.NaN, Infinity]) curve.record(1, ms);
  curve.record(0, 1);
  expect(curve.predict(1)).toBeUndefined();
});

test("an odd first sample of a small size does not lift the larger ones for ever", () => {
  const curve = new Curve();
  curve.record(1, 50);
  for (let i = 0; i < CURVE_SAMPLES; i++) curve.record(32, 1);
  expect(curve.predict(32)?.q50Ms).toBeLessThan(2);
});

test("of one run of each size one that was held up, whichever, lifts those above it to the next one's time at most", () => {
  const sizes = [1, 2, 4, 8, 16, 32, 64];
  for (const [held] of sizes.entries()) {
    const curve = new Curve();
    for (const [i, rows] of sizes.entries()) curve.record(rows, i === held ? 1000 : 40 + 2.5 * rows);
    for (const [i, rows] of sizes.entries()) {
      if (i === held && held === sizes.length - 1) continue;
      expect(curve.predict(rows)?.q95Ms).toBe(40 + 2.5 * (i === held ? sizes[held + 1]! : rows));
    }
  }
});

test("however many batch sizes there are, few are kept", () => {
  const curve = new Curve();
  for (let rows = 1; rows <= 20_000; rows++) curve.record(rows, rows);
  expect(curve.points().length).toBeLessThan(400);
  for (const rows of [1, 63, 64, 65, 1000, 19_999]) expect(curve.predict(rows)!.q50Ms / rows).toBeCloseTo(1, 1);
});

test("the line is the one that the medians were made of, whatever the order of the samples", () => {
  const curve = new Curve();
  expect(curve.line()).toBeUndefined();
  for (const rows of [8, 1, 32, 2, 64]) for (let i = 0; i < 5; i++) curve.record(rows, 4 + 0.25 * rows);
  expect(curve.line()!.fixedMs).toBeCloseTo(4);
  expect(curve.line()!.rowMs).toBeCloseTo(0.25);
  const single = new Curve();
  single.record(8, 3);
  expect(single.line()).toBeUndefined();
});

test("a curve that is seeded with another one's points predicts as that one did", () => {
  // One sample is one time, and cannot show two quantiles.
  const times = fc.array(fc.double({ min: 0.001, max: 1000, noNaN: true }), { minLength: 2, maxLength: 80 });
  const size = fc.tuple(fc.integer({ min: 1, max: 300 }), times);
  fc.assert(
    fc.property(fc.array(size, { minLength: 1, maxLength: 20 }), (sizes) => {
      const [first, second] = [new Curve(), new Curve()];
      for (const [rows, timesMs] of sizes) for (const ms of timesMs) first.record(rows, ms);
      second.seed(first.points());
      for (const [i, { rows, samples, q50Ms, q95Ms }] of first.points().entries()) {
        const point = second.points()[i]!;
        expect(point).toMatchObject({ rows, samples });
        expect(point.q50Ms).toBeCloseTo(q50Ms, 6);
        expect(point.q95Ms).toBeCloseTo(q95Ms, 6);
      }
    }),
  );
});

test("seeds fill in for sizes that were not run; what is run pushes them out bit by bit", () => {
  const curve = new Curve();
  curve.record(1, 5);
  const seeds = [1, 8].map((rows) => ({ rows, q50Ms: 10, q95Ms: 20, samples: 64 }));
  curve.seed(seeds);
  expect(curve.points()).toEqual([
    { rows: 1, q50Ms: 5, q95Ms: 5, samples: 1 },
    { rows: 8, q50Ms: 10, q95Ms: 20, samples: 64 },
  ]);
  for (let i = 0; i < CURVE_SAMPLES / 2; i++) curve.record(8, 10);
  expect(curve.predict(8)!.q95Ms).toBeGreaterThan(15);
  for (let i = 0; i < CURVE_SAMPLES / 2; i++) curve.record(8, 10);
  expect(curve.predict(8)).toMatchObject({ q50Ms: 10, q95Ms: 10 });
});

test("seeds that cannot be are ignored", () => {
  const good = { rows: 1, q50Ms: 1, q95Ms: 2, samples: 3 };
  const bad = [
    { rows: 0 },
    { q50Ms: 0 },
    { q50Ms: Number.NaN },
    { q95Ms: Infinity },
    { samples: 0 },
    { rows: 2 ** 40 },
  ];
  const curve = new Curve();
  curve.seed(bad.map((fault) => ({ ...good, ...fault })));
  expect(curve.points()).toEqual([]);
  curve.seed([{ ...good, q95Ms: 0.5, samples: 1e9 }]);
  expect(curve.points()).toEqual([{ rows: 1, q50Ms: 1, q95Ms: 1, samples: CURVE_SAMPLES }]);
});

/** Batch times of a device: (a + b · rows) · a factor around 1, with a long upper tail. Median factor 1. */
function device(seed: number, shape: { readonly aMs: number; readonly bMs: number; readonly spread: number }) {
  let state = seed >>> 0;
  const uniform = (): number => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
  const gaussian = (): number => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return {
    uniform,
    timeMs: (rows: number): number => (shape.aMs + shape.bMs * rows) * Math.exp(shape.spread * gaussian()),
  };
}

const shapeOf = (spreadMax: number) =>
  fc.record({
    seed: fc.nat({ max: 2 ** 31 }),
    aMs: fc.double({ min: 0.05, max: 20, noNaN: true }),
    bMs: fc.double({ min: 0.01, max: 5, noNaN: true }),
    spread: fc.double({ min: 0.001, max: spreadMax, noNaN: true }),
  });

const arbitraryDevice = shapeOf(0.5).map((shape) => device(shape.seed, shape));

test("predictions hold what they say: as many runs as the quantile says are not slower, within 3 %", () => {
  const sizes = [1, 3, 8, 40];
  fc.assert(
    fc.property(arbitraryDevice, ({ uniform, timeMs }) => {
      const curve = new Curve();
      const pick = (): number => sizes[Math.floor(uniform() * sizes.length)]!;
      for (const rows of sizes) for (let i = 0; i < CURVE_SAMPLES; i++) curve.record(rows, timeMs(rows));
      const held = { q50: 0, q95: 0 };
      const runs = 12_000;
      for (let i = 0; i < runs; i++) {
        const rows = pick();
        const ms = timeMs(rows);
        const { q50Ms, q95Ms } = curve.predict(rows)!;
        if (ms <= q50Ms) held.q50++;
        if (ms <= q95Ms) held.q95++;
        curve.record(rows, ms);
      }
      expect(Math.abs(held.q50 / runs - 0.5)).toBeLessThan(0.03);
      expect(Math.abs(held.q95 / runs - 0.95)).toBeLessThan(0.03);
    }),
    { numRuns: 20 },
  );
});

test.for([
  [CURVE_SAMPLES, 0.05],
  // Where runs differ much the new pace may be seen only when some of it were taken for chance.
  [2 * CURVE_SAMPLES, 0.5],
] as const)(
  "twice the time is learned within %i runs of a size: nothing of what was before is left",
  ([runs, spread]) => {
    fc.assert(
      fc.property(shapeOf(spread), fc.integer({ min: 1, max: 64 }), (shape, rows) => {
        const { timeMs } = device(shape.seed, shape);
        const [curve, fresh] = [new Curve(), new Curve()];
        for (let i = 0; i < 200; i++) curve.record(rows, timeMs(rows));
        curve.predict(7);
        const both = (ms: number): void => [curve, fresh].forEach((one) => one.record(rows, ms));
        for (let i = 0; i < runs; i++) both(2 * timeMs(rows));
        // A run that is as ever ends the doubt about those that were not.
        both(fresh.points()[0]!.q50Ms);
        expect(curve.points()).toMatchObject([{ rows, samples: CURVE_SAMPLES }]);
        const [now, due] = [curve.predict(7)!, fresh.predict(7)!];
        expect(now.q50Ms / due.q50Ms).toBeCloseTo(1, 9);
        expect(now.q95Ms / due.q95Ms).toBeCloseTo(1, 9);
      }),
    );
  },
);

const SIZES = [1, 2, 4, 8, 16, 32, 64] as const;

test("after a slower or faster spell, and in it, every size is predicted within 10 % after a few runs of any, whether it is run or not", () => {
  const spell = fc.record({
    steady: shapeOf(0.02),
    factors: fc.array(fc.constantFrom(0.1, 0.25, 0.5, 0.7, 1, 1.5, 2, 4, 10), { minLength: 1, maxLength: 6 }),
    run: fc.subarray([...SIZES], { minLength: 1 }),
    runs: fc.integer({ min: 6, max: 300 }),
  });
  fc.assert(
    fc.property(spell, ({ steady, factors, run, runs }) => {
      const { timeMs } = device(steady.seed, steady);
      const curve = new Curve();
      for (const rows of SIZES) for (let i = 0; i < 20; i++) curve.record(rows, timeMs(rows));
      for (const factor of [...factors, 1]) {
        for (let i = 0; i < runs; i++) curve.record(run[i % run.length]!, factor * timeMs(run[i % run.length]!));
        for (const rows of SIZES) {
          const trueMs = factor * (steady.aMs + steady.bMs * rows);
          expect(Math.abs(curve.predict(rows)!.q50Ms / trueMs - 1)).toBeLessThan(0.1);
          expect(curve.predict(rows)!.q95Ms / trueMs).toBeLessThan(1.15);
        }
      }
    }),
  );
});

test("chance is no new pace: what is not run is predicted as ever while others are run 20,000 times", () => {
  const arbitrary = fc.record({
    seed: fc.nat({ max: 2 ** 31 }),
    spread: fc.double({ min: 0.01, max: 0.5, noNaN: true }),
  });
  fc.assert(
    fc.property(arbitrary, ({ seed, spread }) => {
      const { timeMs } = device(seed, { aMs: 10, bMs: 0.5, spread });
      const curve = new Curve();
      for (const rows of [1, 4, 8]) for (let i = 0; i < CURVE_SAMPLES; i++) curve.record(rows, timeMs(rows));
      for (let i = 0; i < CURVE_SAMPLES; i++) curve.record(40, 30);
      for (let i = 0; i < 20_000; i++) {
        curve.record([1, 4, 8][i % 3]!, timeMs([1, 4, 8][i % 3]!));
        if (i % 100 === 0) expect(curve.predict(40)!.q50Ms).toBeCloseTo(30, 9);
      }
    }),
    { numRuns: 10 },
  );
});

test("a size that bad luck has spoiled is soon believed to be in proportion to a smaller one, and then what its next run says", () => {
  const curve = new Curve();
  const run = (rows: number, times: number): void => {
    for (let i = 0; i < times; i++) curve.record(rows, 4 + rows);
  };
  run(8, 20);
  run(64, 3);
  curve.record(64, 5_000);
  expect(curve.predict(64)!.q95Ms).toBe(5_000);
  run(8, 128);
  expect(curve.predict(64)!.q95Ms).toBe(5_000);
  run(8, 1);
  expect(curve.predict(64)!.q95Ms).toBe(8 * 12);
  run(64, 1);
  expect(curve.predict(64)).toEqual({ q50Ms: 68, q95Ms: 68 });
  // What was passed over and is as it was stays known as well.
  expect(curve.points().at(-1)!.samples).toBe(4);
});

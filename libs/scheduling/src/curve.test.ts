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

const arbitraryDevice = fc
  .record({
    seed: fc.nat({ max: 2 ** 31 }),
    aMs: fc.double({ min: 0.05, max: 20, noNaN: true }),
    bMs: fc.double({ min: 0.01, max: 5, noNaN: true }),
    spread: fc.double({ min: 0.01, max: 0.5, noNaN: true }),
  })
  .map(({ seed, ...shape }) => device(seed, shape));

test("predictions hold what they say: as many runs as the quantile says are not slower, within 3 %", () => {
  const sizes = [1, 3, 8, 40];
  fc.assert(
    fc.property(arbitraryDevice, ({ uniform, timeMs }) => {
      const curve = new Curve();
      const pick = (): number => sizes[Math.floor(uniform() * sizes.length)]!;
      for (const rows of sizes) for (let i = 0; i < CURVE_SAMPLES; i++) curve.record(rows, timeMs(rows));
      const held = { q50: 0, q95: 0, q99: 0 };
      const runs = 12_000;
      for (let i = 0; i < runs; i++) {
        const rows = pick();
        const ms = timeMs(rows);
        const { q50Ms, q95Ms } = curve.predict(rows)!;
        if (ms <= q50Ms) held.q50++;
        if (ms <= q95Ms) held.q95++;
        if (ms <= curve.predict(rows, 0.99)!.q95Ms) held.q99++;
        curve.record(rows, ms);
      }
      expect(Math.abs(held.q50 / runs - 0.5)).toBeLessThan(0.03);
      expect(Math.abs(held.q95 / runs - 0.95)).toBeLessThan(0.03);
      expect(Math.abs(held.q99 / runs - 0.99)).toBeLessThan(0.03);
    }),
    { numRuns: 20 },
  );
});

test("twice the time is learned within 64 runs of a size: nothing of what was before is left in the prediction", () => {
  const sizes = fc.uniqueArray(fc.integer({ min: 1, max: 64 }), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(arbitraryDevice, sizes, ({ timeMs }, sizes) => {
      const [curve, fresh] = [new Curve(), new Curve()];
      for (const rows of sizes) for (let i = 0; i < 200; i++) curve.record(rows, timeMs(rows));
      for (const upper of [0.95, 0.99] as const) curve.predict(7, upper);
      for (const rows of sizes) {
        for (let i = 0; i < CURVE_SAMPLES; i++) {
          const ms = 2 * timeMs(rows);
          curve.record(rows, ms);
          fresh.record(rows, ms);
        }
      }
      expect(curve.points()).toEqual(fresh.points());
      for (const upper of [0.95, 0.99] as const) expect(curve.predict(7, upper)).toEqual(fresh.predict(7, upper));
    }),
  );
});

test("predictions are positive and rise with the rows, also of the 99th percentile", () => {
  const sample = fc.tuple(fc.integer({ min: 1, max: 64 }), fc.double({ min: 0.001, max: 1000, noNaN: true }));
  fc.assert(
    fc.property(fc.array(sample, { minLength: 1, maxLength: 300 }), (samples) => {
      const curve = new Curve();
      for (const [rows, ms] of samples) curve.record(rows, ms);
      let beforeMs = 0;
      for (let rows = 1; rows <= 100; rows++) {
        const { q50Ms, q95Ms } = curve.predict(rows, 0.99)!;
        expect(q50Ms).toBeGreaterThan(0);
        expect(q95Ms).toBeGreaterThanOrEqual(curve.predict(rows)!.q95Ms - 1e-9);
        expect(q95Ms).toBeGreaterThanOrEqual(beforeMs - 1e-9);
        beforeMs = q95Ms;
      }
    }),
  );
});

import { expect, test } from "vitest";
import { planArrivals } from "./arrival-plan.ts";

const PLAN = { kind: "poisson", ratePerSecond: 1000, durationMs: 20_000, seed: 11 } as const;

test("one seed, one plan, to the last bit", () => {
  const arrivals = planArrivals({ ...PLAN, durationMs: 5 });
  expect([...arrivals].map((ms) => Number(ms.toFixed(6)))).toMatchInlineSnapshot(`
    [
      0.716594,
      1.471503,
      2.408299,
      3.300281,
    ]
  `);
  expect(planArrivals(PLAN)).toEqual(planArrivals(PLAN));
  expect(planArrivals({ ...PLAN, seed: 12 })).not.toEqual(planArrivals(PLAN));
});

test("gaps are exponential: their mean is 1 / rate, their deviation too, and e^-1 of them are longer", () => {
  const arrivals = planArrivals(PLAN);
  const gaps = Array.from(arrivals, (ms, i) => ms - (arrivals[i - 1] ?? 0));
  const mean = gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length;
  const variance = gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / gaps.length;
  expect(arrivals.length).toBeGreaterThan(19_500);
  expect(arrivals.length).toBeLessThan(20_500);
  expect(mean).toBeCloseTo(1, 1);
  expect(Math.sqrt(variance)).toBeCloseTo(1, 1);
  expect(gaps.filter((gap) => gap > 1).length / gaps.length).toBeCloseTo(Math.exp(-1), 1);
  expect(gaps.every((gap) => gap >= 0)).toBe(true);
  expect(arrivals.at(-1)).toBeLessThan(PLAN.durationMs);
});

test("phases follow one another, each with its own rate, and a pause is empty", () => {
  const phases = [
    { ratePerSecond: 1000, durationMs: 5_000 },
    { ratePerSecond: 0, durationMs: 1_000 },
    { ratePerSecond: 4000, durationMs: 5_000 },
  ];
  const arrivals = planArrivals({ kind: "phases", phases, seed: 3 });
  const within = (fromMs: number, toMs: number): number => arrivals.filter((ms) => ms >= fromMs && ms < toMs).length;
  expect(within(0, 5_000) / 5_000).toBeCloseTo(1, 1);
  expect(within(5_000, 6_000)).toBe(0);
  expect(within(6_000, 11_000) / 20_000).toBeCloseTo(1, 1);
  expect(arrivals.every((ms, i) => ms >= (arrivals[i - 1] ?? 0) && ms < 11_000)).toBe(true);
  const { kind: _, ...one } = PLAN;
  expect(planArrivals({ kind: "phases", phases: [one], seed: PLAN.seed })).toEqual(planArrivals(PLAN));
});

test("a burst is all at once", () => {
  expect(planArrivals({ kind: "burst", requests: 3 })).toEqual(Float64Array.of(0, 0, 0));
});

test("nothing to plan is a mistake", () => {
  expect(() => planArrivals({ ...PLAN, ratePerSecond: 0 })).toThrow(RangeError);
  expect(() => planArrivals({ ...PLAN, durationMs: Number.NaN })).toThrow(RangeError);
  expect(() => planArrivals({ kind: "burst", requests: 0 })).toThrow(RangeError);
  expect(() => planArrivals({ kind: "phases", phases: [], seed: 1 })).toThrow(RangeError);
  expect(() => planArrivals({ kind: "phases", phases: [{ ratePerSecond: 0, durationMs: 1 }], seed: 1 })).toThrow(
    RangeError,
  );
});

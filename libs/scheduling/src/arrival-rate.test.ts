import fc from "fast-check";
import { expect, test } from "vitest";
import { ArrivalRate } from "./arrival-rate.ts";

test("steady arrivals are measured right from the start, and silence lets the rate fall by e a window", () => {
  const rate = new ArrivalRate(200);
  expect(rate.at(0)).toBe(0);
  for (let ms = 0; ms < 50; ms += 0.5) rate.record(1, ms);
  expect(rate.at(50)).toBeCloseTo(2, 1);
  for (let ms = 50; ms < 2_000; ms += 0.5) rate.record(1, ms);
  const before = rate.at(2_000);
  expect(before).toBeCloseTo(2, 1);
  expect(rate.at(2_200)).toBeCloseTo(before / Math.E, 2);
});

test("rows count, not requests", () => {
  const rate = new ArrivalRate(200);
  for (let ms = 0; ms < 2_000; ms += 4) rate.record(8, ms);
  expect(rate.at(2_000)).toBeCloseTo(2, 1);
});

test("whatever arrives whenever, the rate is a number that is not negative", () => {
  const arrivals = fc.array(
    fc.record({ rows: fc.integer({ min: 1, max: 256 }), gapMs: fc.double({ min: 0, max: 1e7, noNaN: true }) }),
  );
  fc.assert(
    fc.property(arrivals, (given) => {
      const rate = new ArrivalRate(200);
      let nowMs = 0;
      for (const { rows, gapMs } of given) {
        rate.record(rows, (nowMs += gapMs));
        expect(rate.at(nowMs)).toBeGreaterThanOrEqual(0);
        expect(Number.isFinite(rate.at(nowMs + gapMs))).toBe(true);
      }
    }),
  );
});

import { expect, test } from "vitest";
import { LatencyHistogram } from "./latency-histogram.ts";

test("quantiles are true to a thirtieth", () => {
  const histogram = new LatencyHistogram();
  for (let i = 1; i <= 10_000; i++) histogram.record(i / 100);
  const { count, mean, p50, p90, p99, p999, max } = histogram.summary();
  expect(count).toBe(10_000);
  expect(mean).toBeCloseTo(50.005, 3);
  expect(max).toBe(100);
  for (const [value, exact] of [
    [p50, 50],
    [p90, 90],
    [p99, 99],
    [p999, 99.9],
  ] as const) {
    expect(value / exact).toBeGreaterThanOrEqual(1);
    expect(value / exact).toBeLessThan(1.03);
  }
});

test("nothing recorded is all zeros; what is out of range goes to the ends", () => {
  const histogram = new LatencyHistogram();
  expect(histogram.summary()).toEqual({ count: 0, mean: 0, p50: 0, p90: 0, p99: 0, p999: 0, max: 0 });
  histogram.record(0);
  expect(histogram.quantile(1)).toBe(0);
  histogram.record(1e9);
  expect(histogram.summary().max).toBe(1e9);
});

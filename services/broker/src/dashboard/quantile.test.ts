import fc from "fast-check";
import { expect, test } from "vitest";
import { histogramQuantile } from "./quantile.ts";

const BOUNDS = [1, 2, 5, 10];

test.for<[string, number[], number, number]>([
  ["the middle of one bucket", [0, 4, 0, 0, 0], 0.5, 1.5],
  ["the lowest bucket begins at 0", [4, 0, 0, 0, 0], 0.5, 0.5],
  ["across buckets", [1, 1, 2, 0, 0], 0.75, 3.5],
  ["the end of a bucket", [2, 0, 0, 2, 0], 0.5, 1],
  ["beyond the last bound it is the last bound", [0, 0, 0, 1, 9], 0.99, 10],
  ["all of it", [0, 0, 3, 0, 0], 1, 5],
])("%s", ([, counts, q, expected]) => {
  expect(histogramQuantile(BOUNDS, counts, q)).toBeCloseTo(expected, 12);
});

test("of nothing there is no quantile", () => {
  expect(histogramQuantile(BOUNDS, [0, 0, 0, 0, 0], 0.99)).toBeNaN();
});

/** Prometheus's bucketQuantile, line by line: cumulative buckets with +Inf last. */
function reference(q: number, buckets: readonly { readonly le: number; readonly count: number }[]): number {
  const observations = buckets.at(-1)!.count;
  if (observations === 0) return Number.NaN;
  let rank = q * observations;
  const b = buckets.findIndex(({ count }, i) => i === buckets.length - 1 || count >= rank);
  if (b === buckets.length - 1) return buckets.at(-2)!.le;
  let start = 0;
  let { count } = buckets[b]!;
  if (b > 0) {
    start = buckets[b - 1]!.le;
    count -= buckets[b - 1]!.count;
    rank -= buckets[b - 1]!.count;
  }
  return start + (buckets[b]!.le - start) * (rank / count);
}

test("it is what Prometheus's histogram_quantile gives, whatever was observed", () => {
  const counts = fc.array(fc.nat(1_000), { minLength: 5, maxLength: 5 });
  fc.assert(
    fc.property(counts, fc.double({ min: 0.01, max: 0.999, noNaN: true }), (counts, q) => {
      let sum = 0;
      const cumulative = [...BOUNDS, Infinity].map((le, i) => ({ le, count: (sum += counts[i]!) }));
      const expected = reference(q, cumulative);
      const given = histogramQuantile(BOUNDS, counts, q);
      if (Number.isNaN(expected)) expect(given).toBeNaN();
      else expect(given).toBeCloseTo(expected, 9);
    }),
  );
});

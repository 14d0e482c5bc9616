import { SeededRandom } from "./seeded-random.ts";

/** When the requests of an open loop leave, whatever becomes of those before. Plain data. */
export type ArrivalPlan =
  | { readonly kind: "poisson"; readonly ratePerSecond: number; readonly durationMs: number; readonly seed: number }
  | { readonly kind: "burst"; readonly requests: number };

/**
 * Every arrival in milliseconds from the start, ascending. Poisson: independent exponential gaps with a mean of 1 / rate, up to
 * the duration, so that their number varies with the seed too. A burst: all at 0.
 * @throws RangeError for a rate, duration or number that is not above 0.
 */
export function planArrivals(plan: ArrivalPlan): Float64Array {
  if (plan.kind === "burst") {
    if (!(plan.requests > 0)) throw new RangeError("a burst needs requests");
    return new Float64Array(plan.requests);
  }
  const { ratePerSecond, durationMs, seed } = plan;
  if (!(ratePerSecond > 0 && durationMs > 0)) throw new RangeError("arrivals need a rate and a duration above 0");
  const random = new SeededRandom(seed);
  const gapMs = (): number => (-Math.log(1 - random.next()) / ratePerSecond) * 1000;
  const arrivals: number[] = [];
  for (let atMs = gapMs(); atMs < durationMs; atMs += gapMs()) arrivals.push(atMs);
  return Float64Array.from(arrivals);
}

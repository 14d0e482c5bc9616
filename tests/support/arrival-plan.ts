import { SeededRandom } from "./seeded-random.ts";

/** A stretch of time with one mean rate; 0 is a pause. */
export type ArrivalPhase = { readonly ratePerSecond: number; readonly durationMs: number };

/** When the requests of an open loop leave, whatever becomes of those before. Plain data. */
export type ArrivalPlan =
  | ({ readonly kind: "poisson"; readonly seed: number } & ArrivalPhase)
  /** Poisson arrivals whose mean rate changes from phase to phase. */
  | { readonly kind: "phases"; readonly phases: readonly ArrivalPhase[]; readonly seed: number }
  | { readonly kind: "burst"; readonly requests: number };

/**
 * Every arrival in milliseconds from the start, ascending. Poisson: independent exponential gaps with a mean of 1 / rate, up to
 * the duration, so that their number varies with the seed too; phases follow one another, and the gap that a new phase finds is
 * drawn anew (exponential gaps have no memory). A burst: all at 0.
 * @throws RangeError for a duration or number that is not above 0, and where nothing can arrive.
 */
export function planArrivals(plan: ArrivalPlan): Float64Array {
  if (plan.kind === "burst") {
    if (!(plan.requests > 0)) throw new RangeError("a burst needs requests");
    return new Float64Array(plan.requests);
  }
  const phases = plan.kind === "poisson" ? [plan] : plan.phases;
  if (!phases.some(({ ratePerSecond }) => ratePerSecond > 0)) throw new RangeError("arrivals need a rate above 0");
  const random = new SeededRandom(plan.seed);
  const arrivals: number[] = [];
  let startMs = 0;
  for (const { ratePerSecond, durationMs } of phases) {
    if (!(ratePerSecond >= 0 && durationMs > 0)) throw new RangeError("arrivals need a duration above 0");
    const gapMs = (): number => (-Math.log(1 - random.next()) / ratePerSecond) * 1000;
    const endMs = startMs + durationMs;
    if (ratePerSecond > 0) for (let atMs = startMs + gapMs(); atMs < endMs; atMs += gapMs()) arrivals.push(atMs);
    startMs = endMs;
  }
  return Float64Array.from(arrivals);
}

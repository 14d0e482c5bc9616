import type { BatchView } from "./batch-plan.ts";

/** What a new request would find. */
export type Backdrop = {
  /** Rows that wait and leave before it, as their deadlines are earlier. */
  readonly aheadRows: number;
  readonly rows: number;
  /** The largest batch. */
  readonly rowsMax: number;
  /** Slots that serve the queue, at least 1. */
  readonly slots: number;
  /** In how many ms the first of them can start something; 0 or more. */
  readonly freeInMs: number;
  readonly predict: BatchView["predict"];
};

/**
 * In how many ms a new request will be answered, or undefined where nothing is known: what leaves before it does so in batches of k
 * rows, a batch every L(k)/N, and the request with the rest of them, for the k (a power of two, or the largest batch) that is best for it.
 * What waits counts with its median time, the request's own batch with the upper quantile, unless it is alone.
 * Never falls when more waits, when slots go, or when they are free later (scheduling research §6, invariant 9). O(log rowsMax).
 */
export function finishInMs(backdrop: Backdrop): number | undefined {
  const { aheadRows, rows, rowsMax, slots, freeInMs, predict } = backdrop;
  if (predict(rows) === undefined) return undefined;
  if (aheadRows === 0) return freeInMs + predict(rows)!.q50Ms;
  let bestMs = Infinity;
  for (let k = 1; ; k = Math.min(2 * k, rowsMax)) {
    const before = Math.floor(aheadRows / k) * (predict(k)!.q50Ms / slots);
    const own = predict(Math.max(rows, Math.min(k, aheadRows + rows)))!.q95Ms;
    bestMs = Math.min(bestMs, before + own);
    if (k >= rowsMax) break;
  }
  return freeInMs + bestMs;
}

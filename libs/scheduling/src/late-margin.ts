import { indexIn } from "./sorted.ts";

/** Batches that count, the latest. */
const BATCHES = 256;

/** So many of them are back within the margin. Of a batch planned to its end the most urgent requests alone are late with it. */
const QUANTILE = 0.98;

/**
 * The margin takes no more of a budget than this. What is later still it could not save: it does not count, or a slow spell would make
 * plans careful for hundreds of batches after it.
 */
const BUDGET_SHARE_MAX = 0.1;

/**
 * How much earlier than its deadline a batch has to be planned to end, so that it is back in time: what runs, messages and busy machines
 * add to the end that the curve predicts with 95 % certainty. Measured of the answers themselves, as the 98th percentile of the latest
 * 256; never negative, so a model that is always early gains nothing by it. record is O(256) moves of a number, the rest O(1).
 */
export class LateMargin {
  /** What answers are late by, in ms, whatever the budget. */
  ms = 0;
  readonly #ring: number[] = [];
  readonly #sorted: number[] = [];
  #next = 0;

  /** Takes by how much a batch that was expected in time was back after its planned end, and its budget, in ms; negative: before it. */
  record(lateMs: number, budgetMs: number): void {
    if (!Number.isFinite(lateMs) || lateMs > BUDGET_SHARE_MAX * budgetMs) return;
    const sorted = this.#sorted;
    const oldest = this.#ring[this.#next];
    if (oldest !== undefined) sorted.splice(indexIn(sorted, oldest), 1);
    sorted.splice(indexIn(sorted, lateMs), 0, lateMs);
    this.#ring[this.#next] = lateMs;
    this.#next = (this.#next + 1) % BATCHES;
    // Of a few the largest is chance.
    this.ms = Math.max(0, sorted[Math.floor(QUANTILE * sorted.length) - 1] ?? 0);
  }

  /** What is set aside of a budget, in ms. What is left never falls when the budget grows. */
  of(budgetMs: number): number {
    return Math.min(this.ms, BUDGET_SHARE_MAX * budgetMs);
  }
}

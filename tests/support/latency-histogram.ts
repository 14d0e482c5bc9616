/** Buckets per doubling: a value is known to 1 part in 32. */
const STEPS = 32;
/** The smallest value that is told apart, in milliseconds. */
const MS_MIN = 0.001;
/** 1 µs · 2^27 = 134 s; what is longer counts as that. */
const DOUBLINGS = 27;

/** What a histogram tells, in milliseconds; all 0 where nothing was recorded. `max` is exact. */
export type LatencySummary = {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
};

/** Counts of durations in buckets of equal ratio, in constant memory (864 numbers) and about 20 ns a value. */
export class LatencyHistogram {
  readonly #counts = new Float64Array(STEPS * DOUBLINGS);
  #count = 0;
  #sumMs = 0;
  #maxMs = 0;

  record(ms: number): void {
    const at = Math.floor(Math.log2(Math.max(ms, MS_MIN) / MS_MIN) * STEPS);
    this.#counts[Math.min(at, this.#counts.length - 1)]! += 1;
    this.#count += 1;
    this.#sumMs += ms;
    if (ms > this.#maxMs) this.#maxMs = ms;
  }

  /** The value below which `share` (0 to 1) of the recorded ones lie: the upper edge of its bucket, at most `max`. */
  quantile(share: number): number {
    let left = share * this.#count;
    for (let at = 0; at < this.#counts.length; at++) {
      left -= this.#counts[at]!;
      if (left <= 0 && this.#count > 0) return Math.min(this.#maxMs, MS_MIN * 2 ** ((at + 1) / STEPS));
    }
    return this.#maxMs;
  }

  summary(): LatencySummary {
    return {
      count: this.#count,
      mean: this.#count === 0 ? 0 : this.#sumMs / this.#count,
      p50: this.quantile(0.5),
      p90: this.quantile(0.9),
      p99: this.quantile(0.99),
      p999: this.quantile(0.999),
      max: this.#maxMs,
    };
  }
}

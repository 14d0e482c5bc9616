/** How many requests may be sent again, measured over the last ten seconds. */
export type RetryBound = {
  /** Of the requests that have come in this time, in percent. */
  readonly retryPercentMax: number;
  /** So many in any case. */
  readonly retriesMin: number;
};

const SLICE_MS = 1000;
const SLICES = 10;

/** When a request that may not be sent again may be repeated by its client, in milliseconds: in one slice others have left the sum. */
export const RETRY_AFTER_MS = SLICE_MS;

/**
 * Bounds what a gateway sends again after a broker was lost or has handed it back, so that who comes next is not met by a storm:
 * each request brings a share of a token, each retry takes a whole one, and both are forgotten after ten seconds. Pure; O(1) in
 * time and memory. Source: Finagle's RetryBudget (a leaky token bucket with a reserve, and its window of ten slices),
 * https://github.com/twitter/finagle/blob/develop/finagle-core/src/main/scala/com/twitter/finagle/service/RetryBudget.scala;
 * the share of ten percent is that of "Handling Overload" in Google's SRE book.
 */
export class RetryBudget {
  readonly #bound: RetryBound;
  readonly #requests = new Float64Array(SLICES);
  readonly #retries = new Float64Array(SLICES);
  #requestSum = 0;
  #retrySum = 0;
  /** Slices since the clock's zero. */
  #slice = 0;

  constructor(bound: RetryBound) {
    this.#bound = bound;
  }

  /** A request has come. */
  count(nowMs: number): void {
    this.#requests[this.#at(nowMs)]!++;
    this.#requestSum++;
  }

  /** Whether one more may be sent again; counts it if so. */
  take(nowMs: number): boolean {
    const at = this.#at(nowMs);
    const { retryPercentMax, retriesMin } = this.#bound;
    if (this.#retrySum + 1 > retriesMin + (this.#requestSum * retryPercentMax) / 100) return false;
    this.#retries[at]!++;
    this.#retrySum++;
    return true;
  }

  /** Where the present slice is, after what is too old was forgotten. */
  #at(nowMs: number): number {
    const slice = Math.floor(nowMs / SLICE_MS);
    for (let left = Math.min(SLICES, slice - this.#slice); left > 0; left--) {
      const at = (slice - left + 1) % SLICES;
      this.#requestSum -= this.#requests[at]!;
      this.#retrySum -= this.#retries[at]!;
      this.#requests[at] = this.#retries[at] = 0;
    }
    this.#slice = slice;
    return slice % SLICES;
  }
}

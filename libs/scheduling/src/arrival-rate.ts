/** About how far back the scheduler looks, in ms: the broker and the simulator alike. */
export const RATE_WINDOW_MS = 200;

/**
 * How fast rows arrive, in rows per ms: an exponentially weighted mean over about `windowMs`. Its relative error under Poisson
 * arrivals is about 1/√(2·rate·window), the shot noise of an exponential kernel: 4 % at 2 rows/ms over 200 ms. Before the first
 * window is over it is the mean since the first arrival (the weights that are missing are divided out). O(1).
 */
export class ArrivalRate {
  readonly #windowMs: number;
  #sum = 0;
  #atMs = -Infinity;
  #sinceMs = Infinity;

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  record(rows: number, nowMs: number): void {
    this.#sinceMs = Math.min(this.#sinceMs, nowMs);
    this.#sum = this.#decayed(nowMs) + rows;
    this.#atMs = nowMs;
  }

  at(nowMs: number): number {
    if (this.#sum === 0) return 0;
    const weight = -Math.expm1((this.#sinceMs - nowMs) / this.#windowMs);
    // In the first moments there is no telling: nothing is promised before a hundredth of the window.
    return weight < 0.01 ? 0 : this.#decayed(nowMs) / (this.#windowMs * weight);
  }

  #decayed(nowMs: number): number {
    return this.#sum === 0 ? 0 : this.#sum * Math.exp((this.#atMs - nowMs) / this.#windowMs);
  }
}

/** About how far back it looks, in ms. */
const WINDOW_MS = 1_000;

/** What share of a changing number of slots is busy, now and over about the last second: the larger of the two. O(1). */
export class BusyShare {
  #busy = 0;
  /** Exponentially weighted mean of the busy slots. */
  #mean = 0;
  #atMs = -Infinity;

  /** So many slots more are busy from now on; fewer where it is negative. */
  add(slots: number, nowMs: number): void {
    this.#mean = this.#meanAt(nowMs);
    this.#atMs = nowMs;
    this.#busy += slots;
  }

  /** Of so many slots; 1 where there are none. */
  of(slots: number, nowMs: number): number {
    return slots === 0 ? 1 : Math.max(this.#busy, this.#meanAt(nowMs)) / slots;
  }

  #meanAt(nowMs: number): number {
    const kept = this.#atMs === -Infinity ? 0 : Math.exp((this.#atMs - nowMs) / WINDOW_MS);
    return this.#busy + (this.#mean - this.#busy) * kept;
  }
}

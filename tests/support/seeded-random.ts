/**
 * Pseudo-random numbers that a seed determines, so that a failed run can be repeated: Tommy Ettinger's mulberry32
 * (public domain), 32 bits of state. Not for secrets.
 */
export class SeededRandom {
  #state: number;

  /** `seed` is an integer, taken modulo 2^32. */
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** Uniform in [0, 1), with 32 random bits. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer from `min` to `max`, both included. */
  integer(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  /** An element of a list that is not empty. */
  pick<T>(list: readonly T[]): T {
    const element = list[this.integer(0, list.length - 1)];
    if (element === undefined) throw new RangeError("nothing to pick from");
    return element;
  }
}

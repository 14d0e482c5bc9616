/**
 * Searches the highest rate that still holds, where each question costs seconds and its answer is a draw: guesses near the
 * expected value first, then halves what is left. Pure.
 */
export class Bisection {
  readonly #guesses: number[];
  readonly #resolution: number;
  #low = 0;
  #high: number;

  /** The answer is expected near `expected` and below `high`; `resolution` is the width, in rates, at which the search ends. */
  constructor(options: { readonly expected: number; readonly high: number; readonly resolution: number }) {
    const { expected, high, resolution } = options;
    this.#high = high;
    this.#resolution = resolution;
    this.#guesses = [0.97, 1.03, 0.9, 0.8, 0.65, 0.5, 0.3].map((share) => share * expected);
  }

  /** The highest rate that has held; 0 where none has. */
  get found(): number {
    return this.#low;
  }

  /** The next rate to ask for; undefined when the search is over. */
  next(): number | undefined {
    if (this.#high - this.#low <= this.#resolution) return undefined;
    const guess = this.#guesses.find((rate) => rate > this.#low && rate < this.#high);
    const isNear = this.#low > 0 && this.#high - this.#low <= 8 * this.#resolution;
    return guess === undefined || isNear ? (this.#low + this.#high) / 2 : guess;
  }

  /** What became of the last question. */
  told(rate: number, holds: boolean): void {
    if (holds) this.#low = Math.max(this.#low, rate);
    else this.#high = Math.min(this.#high, rate);
  }
}

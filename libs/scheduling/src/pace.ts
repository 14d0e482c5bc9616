/** So many runs in a row outside the usual range are a new pace. Much slows down single runs; nothing but a change speeds them up. */
const SLOWER_RUNS = 6;
const FASTER_RUNS = 3;

/** From so many samples on a size knows its usual range. */
const SAMPLES_MIN = 8;

/** A pace nearer than this to the first one is the first one; a run nearer than this to the usual range is in it. */
const GRAIN = 1.1;

/** Runs that wait for the verdict, at most. */
const HELD_MAX = 16;

/** A run, and how it compares with others of its size (`unusualRatio`). */
export type PacedRun = { readonly rows: number; readonly computeMs: number; readonly ratio: number | undefined };

/**
 * How fast the runs of a curve are, whatever their size, against when it began: with it the sizes that are not run now keep up with
 * those that are. Six runs in a row that are all slower than the usual range of their sizes, or three that are all faster, make a
 * new pace. Until that is decided they count for nothing, so that the range is the one before. O(1).
 */
export class Pace {
  /** How many times as long runs take now. */
  factor = 1;
  #held: PacedRun[] = [];
  #ratios: number[] = [];

  /** Whether runs wait for the verdict. */
  get isInDoubt(): boolean {
    return this.#held.length > 0;
  }

  /** Takes a run, and returns those about which there is a verdict now: they count, at `factor`. */
  take(run: PacedRun): readonly PacedRun[] {
    const { ratio } = run;
    if (ratio === 1) return [...this.release(), run];
    const ratios = this.#ratios;
    const isTurn = ratio !== undefined && ratios.length > 0 && ratio > 1 !== ratios[0]! > 1;
    const before = isTurn ? this.release() : [];
    this.#held.push(run);
    if (ratio !== undefined && this.#ratios.push(ratio) === (ratio > 1 ? SLOWER_RUNS : FASTER_RUNS)) {
      const factor = this.factor * this.#ratios.sort((a, b) => a - b)[this.#ratios.length >> 1]!;
      // Else each spell would leave the sizes that are not run a little further from the truth.
      this.factor = factor < GRAIN && factor > 1 / GRAIN ? 1 : factor;
      return this.release();
    }
    return this.#held.length < HELD_MAX ? before : this.release();
  }

  /** Ends the doubt: the runs that waited were chance. */
  release(): readonly PacedRun[] {
    const held = this.#held;
    this.#held = [];
    this.#ratios = [];
    return held;
  }
}

/**
 * 1 for a time in the usual range of the samples, which ascend: up to one and a half times as far beyond a quartile, and a tenth, as the
 * quartiles are apart (Tukey's fences, 1977, of logarithms: a quarter of odd samples do no harm). Else its ratio to their median;
 * undefined where they are too few to tell.
 */
export function unusualRatio(sorted: readonly number[], ms: number): number | undefined {
  const { length } = sorted;
  if (length < SAMPLES_MIN) return undefined;
  const low = sorted[length >> 2]!;
  const high = sorted[length - 1 - (length >> 2)]!;
  const spread = (high / low) * Math.sqrt(high / low) * GRAIN;
  return ms > high * spread || ms < low / spread ? ms / sorted[(length - 1) >> 1]! : 1;
}

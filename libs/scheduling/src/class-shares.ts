/** Rows that the sums may be wrong by. */
const ROUNDING = 1e-6;

/**
 * Who is owed a turn. A class that waits is owed its share of the rows that leave, less those of its own that do; what it is owed is
 * never less than nothing, so that what it got while others had nothing is not held against it, and is forgotten once it waits no
 * more. A turn that is owed goes before the more urgent classes, but never twice in a row: these wait for one batch at most that is
 * not theirs. While a class waits it gets at least its share of the rows, less what one batch holds and what it was owed when the
 * turn came (a batch too), as long as the shares of the less urgent classes are half of all or less.
 */
export class ClassShares {
  readonly #shares: readonly number[];
  readonly #owed: number[];
  #wasTurn = false;

  /** By class, the most urgent first, in any unit: what counts is their proportion. */
  constructor(weights: readonly number[]) {
    const sum = weights.reduce((a, b) => a + b, 0);
    this.#shares = weights.map((weight) => weight / sum);
    this.#owed = weights.map(() => 0);
  }

  /** Whether a class is owed a batch of that many rows before more urgent ones. */
  isDue(index: number, rows: number): boolean {
    return !this.#wasTurn && rows > 0 && this.#owed[index]! + ROUNDING >= rows;
  }

  /** How many rows others get while a class that waits gets so many, in the long run. */
  othersBeside(index: number, rows: number): number {
    const share = this.#shares[index]!;
    return Math.ceil((rows * (1 - share)) / share);
  }

  /** A batch has left. `rows`: of each class in it; `waits`: whether rows of the class waited when it left. */
  took(rows: readonly number[], batch: { readonly waits: (index: number) => boolean; readonly isTurn: boolean }): void {
    const sum = rows.reduce((a, b) => a + b, 0);
    this.#wasTurn = batch.isTurn;
    for (const [index, share] of this.#shares.entries()) {
      const owed = this.#owed[index]! + share * sum - rows[index]!;
      this.#owed[index] = batch.waits(index) ? Math.max(0, owed) : 0;
    }
  }

  /** One class waits alone: nobody is owed anything. */
  forget(): void {
    this.#wasTurn = false;
    this.#owed.fill(0);
  }
}

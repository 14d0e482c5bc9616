/** Classes of batch sizes: class c holds the sizes above 2^(c−1) up to 2^c rows; the last one holds all that is larger. */
export const SIZE_CLASSES = 17;

/** Weight of the newest batch in the moving average of a class. */
const WEIGHT = 0.1;

/** What was run: counters since it began, and how long a batch takes now, by its size. Recording is O(1). */
export class WorkTally {
  batches = 0;
  rows = 0;
  /** Compute time of all batches together, in ms. */
  computeMs = 0;
  /** Batches of each class. */
  readonly sizes = new Float64Array(SIZE_CLASSES);
  /** The compute time that a batch of each class takes, in ms: a moving average; 0 where there was none. */
  readonly sizeMs = new Float64Array(SIZE_CLASSES);

  /** Notes a batch that was answered. `rows` ≥ 1. */
  record(rows: number, computeMs: number): void {
    const at = Math.min(SIZE_CLASSES - 1, 32 - Math.clz32(Math.max(1, rows) - 1));
    this.batches++;
    this.rows += rows;
    this.computeMs += computeMs;
    const isFirst = !(this.sizes[at]! > 0);
    this.sizes[at]!++;
    this.sizeMs[at]! += (isFirst ? 1 : WEIGHT) * (computeMs - this.sizeMs[at]!);
  }
}

import type { BatchLimits } from "./batch.ts";
import { type Bucketed, BucketQueue } from "./bucket-queue.ts";
import { ClassShares } from "./class-shares.ts";

/** An entry of a class; 0 is the most urgent one. */
export type Classed = Bucketed & { readonly classIndex: number };

/** By class, the most urgent first: 16 : 4 : 1. */
export const CLASS_WEIGHTS_DEFAULT: readonly number[] = [16, 4, 1];

/**
 * All that waits for one model version, by class, then by deadline. The head is of the most urgent class that waits, unless another
 * is owed a turn (`ClassShares`). A batch begins with entries of its head's class and bucket, and is filled up with those of the
 * other classes, the more urgent first. Costs are those of `BucketQueue`, and a few comparisons.
 */
export class Backlog<T extends Classed> {
  readonly #queues: readonly BucketQueue<T>[];
  readonly #shares: ClassShares;
  readonly #rowsTaken: number[];
  /** Rows of the largest batch: a class that has so much waiting is owed this before it has a turn. */
  turnRows: number;
  #rows = 0;

  constructor(turnRows: number, weights: readonly number[] = CLASS_WEIGHTS_DEFAULT) {
    this.turnRows = turnRows;
    this.#queues = weights.map(() => new BucketQueue());
    this.#shares = new ClassShares(weights);
    this.#rowsTaken = weights.map(() => 0);
  }

  /** Rows of all entries. */
  get rows(): number {
    return this.#rows;
  }

  /** The entry that the next batch begins with. */
  get head(): T | undefined {
    return this.#rows === 0 ? undefined : this.#leading().head;
  }

  /** The entry whose deadline passes first, of all classes. */
  get earliest(): T | undefined {
    let earliest: T | undefined;
    for (const { earliest: own } of this.#queues)
      if (own !== undefined && (earliest === undefined || own.deadlineMs < earliest.deadlineMs)) earliest = own;
    return earliest;
  }

  /** Rows that wait in the class and bucket of the head. */
  get headRows(): number {
    return this.#rows === 0 ? 0 : this.#leading().headRows;
  }

  /** Rows of other classes that wait in the bucket of the head. */
  get fillRows(): number {
    if (this.#rows === 0) return 0;
    const leading = this.#leading();
    if (leading.rows === this.#rows) return 0;
    const { bucket } = leading.head!;
    let rows = 0;
    for (const queue of this.#queues) if (queue !== leading) rows += queue.inBucket(bucket)?.rows ?? 0;
    return rows;
  }

  /** Whether the head is of the most urgent class that waits. */
  get isHeadTop(): boolean {
    return this.#leading() === this.#top();
  }

  /** What waits of one class. To look at, not to change. */
  ofClass(index: number): BucketQueue<T> {
    return this.#queues[index]!;
  }

  /** Rows that leave before an entry of that class and deadline that comes now. */
  rowsBefore(classIndex: number, deadlineMs: number): number {
    const own = this.#queues[classIndex]!.order?.rowsBefore(deadlineMs) ?? 0;
    return own + this.urgentRowsBefore(classIndex, own);
  }

  /**
   * Rows of more urgent classes that leave before an entry of a class that has so many of its own before it: all that wait, but no
   * more than the class's share leaves to others meanwhile, and the batch that may go before its turn.
   */
  urgentRowsBefore(classIndex: number, ownRows: number): number {
    let rows = 0;
    for (let index = 0; index < classIndex; index++) rows += this.#queues[index]!.rows;
    if (rows === 0) return 0;
    return Math.min(rows, this.#shares.othersBeside(classIndex, ownRows + this.turnRows) + this.turnRows);
  }

  push(entry: T): void {
    this.#rows += entry.rows;
    this.#queues[entry.classIndex]!.push(entry);
  }

  /** Takes an entry out; false if it does not wait here. */
  remove(entry: T): boolean {
    const isHere = this.#queues[entry.classIndex]!.remove(entry);
    if (isHere) this.#rows -= entry.rows;
    return isHere;
  }

  /** Takes the next batch, from the bucket of the head. `dueMs` holds for other classes than the head's. */
  take({ dueMs = -Infinity, ...limits }: BatchLimits): T[] {
    const batch: T[] = [];
    if (this.#rows === 0) return batch;
    const leading = this.#leading();
    const isAlone = leading.rows === this.#rows;
    if (isAlone) {
      this.#shares.forget();
      leading.take(limits, batch);
    } else this.#takeMixed(leading, batch, { ...limits, dueMs });
    for (const { rows } of batch) this.#rows -= rows;
    return batch;
  }

  /** Takes these as a batch, entries of the class of the head wherever they stand; at least one. */
  takeThese(batch: readonly T[]): void {
    const leading = this.#leading();
    const isTurn = leading !== this.#top();
    const isAlone = leading.rows === this.#rows;
    const rowsOf = this.#queues.map(({ rows }) => rows);
    this.#rowsTaken.fill(0);
    for (const entry of batch) {
      this.remove(entry);
      this.#rowsTaken[entry.classIndex]! += entry.rows;
    }
    if (isAlone) this.#shares.forget();
    else this.#shares.took(this.#rowsTaken, { waits: (index) => rowsOf[index]! > 0, isTurn });
  }

  #takeMixed(leading: BucketQueue<T>, batch: T[], limits: BatchLimits): void {
    const { bucket } = leading.head!;
    const isTurn = leading !== this.#top();
    const rowsOf = this.#queues.map(({ rows }) => rows);
    leading.take({ ...limits, dueMs: -Infinity }, batch);
    for (const queue of this.#queues) if (queue !== leading) queue.take(limits, batch, bucket);
    this.#rowsTaken.fill(0);
    for (const { classIndex, rows } of batch) this.#rowsTaken[classIndex]! += rows;
    this.#shares.took(this.#rowsTaken, { waits: (index) => rowsOf[index]! > 0, isTurn });
  }

  #top(): BucketQueue<T> {
    for (const queue of this.#queues) if (queue.rows > 0) return queue;
    return this.#queues[0]!;
  }

  #leading(): BucketQueue<T> {
    const top = this.#top();
    if (top.rows === this.#rows) return top;
    const queues = this.#queues;
    for (let index = queues.indexOf(top) + 1; index < queues.length; index++) {
      const queue = queues[index]!;
      if (this.#shares.isDue(index, Math.min(queue.headRows, this.turnRows))) return queue;
    }
    return top;
  }
}

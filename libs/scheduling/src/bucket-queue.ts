import { type Batchable, type BatchLimits, takeBatch } from "./batch.ts";
import { EdfQueue, type Queued } from "./edf-queue.ts";

/** An entry that shares batches only with entries of the same shape bucket. */
export type Bucketed = Batchable & { readonly bucket: string };

/** The queue of one bucket; in the queue of buckets it stands with the deadline and the number of its own head. */
type Lane<T extends Bucketed> = Queued & { readonly entries: EdfQueue<T>; deadlineMs: number };

/**
 * What waits of one class: a queue per shape bucket that has something waiting, and, where there are several, one over all of them
 * that counts what leaves before what. push, remove and take are O(log entries + log buckets) an entry; head is O(1), however many
 * buckets clients come up with.
 */
export class BucketQueue<T extends Bucketed> {
  readonly #byBucket = new Map<string, Lane<T>>();
  readonly #lanes = new EdfQueue<Lane<T>>();
  readonly #numbers = { last: 0 };
  /** While set, the newest leaves in the place of a loose entry with the earliest deadline; else all leave by their deadlines. */
  newestFirst = false;
  /** The loose entries, the oldest first; undefined until there is one. */
  #loose: EdfQueue<T> | undefined;
  /** The entries of all buckets; undefined while they had one at a time. */
  #all: EdfQueue<T> | undefined;
  #rows = 0;

  /** Rows of all entries. */
  get rows(): number {
    return this.#rows;
  }

  /** The entry with the earliest deadline, over all buckets. */
  get earliest(): T | undefined {
    return this.#lanes.head?.entries.head;
  }

  /** The entry that leaves first. */
  get head(): T | undefined {
    const { earliest } = this;
    if (!this.newestFirst || earliest?.isLoose !== true) return earliest;
    const { head, last } = this.inBucket(this.#loose!.last!.bucket)!;
    return head?.isLoose === true ? last : head;
  }

  /** Rows that wait in the bucket of the head: what the next batch can be made of. */
  get headRows(): number {
    if (this.newestFirst) return this.inBucket(this.head?.bucket ?? "")?.rows ?? 0;
    return this.#lanes.head?.entries.rows ?? 0;
  }

  /** The loose entries, the oldest first. To look at, not to change. */
  get loose(): EdfQueue<T> | undefined {
    return this.#loose;
  }

  /** All entries by their deadlines, whatever their buckets. To look at, not to change. */
  get order(): EdfQueue<T> | undefined {
    return this.#all ?? this.#lanes.head?.entries;
  }

  /** The entries of a bucket by their deadlines. To look at, not to change. */
  inBucket(bucket: string): EdfQueue<T> | undefined {
    return this.#byBucket.get(bucket)?.entries;
  }

  push(entry: T): void {
    const lane = this.#byBucket.get(entry.bucket) ?? this.#open(entry.bucket);
    lane.entries.push(entry);
    this.#all?.insert(entry);
    if (entry.isLoose === true) (this.#loose ??= new EdfQueue()).insert(entry);
    this.#rows += entry.rows;
    this.#settle(lane, entry.bucket);
  }

  /** Takes an entry out; false if it does not wait here. */
  remove(entry: T): boolean {
    const lane = this.#byBucket.get(entry.bucket);
    if (lane === undefined || !lane.entries.remove(entry)) return false;
    this.#all?.remove(entry);
    if (entry.isLoose === true) this.#loose!.remove(entry);
    this.#rows -= entry.rows;
    this.#settle(lane, entry.bucket);
    return true;
  }

  /** Adds entries of the head's bucket, or of the one that is named, to a batch: see `takeBatch`. */
  take(limits: BatchLimits, batch: T[], bucket = this.head?.bucket ?? ""): T[] {
    const lane = this.#byBucket.get(bucket);
    if (lane === undefined) return batch;
    const rowsBefore = lane.entries.rows;
    const from = batch.length;
    takeBatch(lane.entries, this.newestFirst ? { ...limits, newestFirst: true } : limits, batch);
    if (this.#all !== undefined) for (let i = from; i < batch.length; i++) this.#all.remove(batch[i]!);
    if (this.#loose !== undefined)
      for (let i = from; i < batch.length; i++) if (batch[i]!.isLoose === true) this.#loose.remove(batch[i]!);
    this.#rows -= rowsBefore - lane.entries.rows;
    this.#settle(lane, bucket);
    return batch;
  }

  #open(bucket: string): Lane<T> {
    const [only] = this.#byBucket.values();
    if (only !== undefined && this.#all === undefined) {
      this.#all = new EdfQueue();
      for (const entry of only.entries) this.#all.insert(entry);
    }
    const lane = { entries: new EdfQueue<T>(this.#numbers), deadlineMs: Number.NaN, rows: 0, queueIndex: -1 };
    this.#byBucket.set(bucket, lane);
    return lane;
  }

  /** Puts a lane where its head belongs now; an empty one is dropped. */
  #settle(lane: Lane<T>, bucket: string): void {
    const { head } = lane.entries;
    if (head !== undefined && head.deadlineMs === lane.deadlineMs && head.queueIndex === lane.queueIndex) return;
    this.#lanes.remove(lane);
    if (head !== undefined) {
      lane.deadlineMs = head.deadlineMs;
      lane.queueIndex = head.queueIndex;
      this.#lanes.insert(lane);
      return;
    }
    this.#byBucket.delete(bucket);
    if (this.#byBucket.size === 0) this.#all = undefined;
  }
}

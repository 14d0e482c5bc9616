import { type Batchable, type BatchLimits, takeBatch } from "./batch.ts";
import { EdfQueue, type Queued } from "./edf-queue.ts";

/** An entry that shares batches only with entries of the same shape bucket. */
export type Bucketed = Batchable & { readonly bucket: string };

/** The queue of one bucket; in the queue of buckets it stands with the deadline of its own head. */
type Lane<T extends Bucketed> = Queued & { readonly entries: EdfQueue<T>; deadlineMs: number };

/**
 * All that waits for one model version: a queue per shape bucket that has something waiting. push, remove and take are
 * O(log entries + log buckets) an entry; head is O(1), however many buckets clients come up with.
 */
export class Backlog<T extends Bucketed> {
  readonly #byBucket = new Map<string, Lane<T>>();
  readonly #lanes = new EdfQueue<Lane<T>>();
  #rows = 0;

  /** Rows of all entries. */
  get rows(): number {
    return this.#rows;
  }

  /** The entry with the earliest deadline, over all buckets. */
  get head(): T | undefined {
    return this.#lanes.head?.entries.head;
  }

  /** Rows that wait in the bucket of the head: what the next batch can be made of. */
  get headRows(): number {
    return this.#lanes.head?.entries.rows ?? 0;
  }

  /** Rows that leave before an entry with that deadline would, counted over at most `entriesMax` entries of each of as many buckets. */
  rowsBefore(deadlineMs: number, entriesMax: number): number {
    let rows = 0;
    let left = entriesMax;
    for (const { entries } of this.#byBucket.values()) {
      if (left-- === 0) break;
      rows += entries.rowsBefore(deadlineMs, entriesMax);
    }
    return rows;
  }

  push(entry: T): void {
    let lane = this.#byBucket.get(entry.bucket);
    if (lane === undefined) {
      lane = { entries: new EdfQueue(), deadlineMs: Infinity, rows: 0, queueIndex: -1 };
      this.#byBucket.set(entry.bucket, lane);
    }
    lane.entries.push(entry);
    this.#rows += entry.rows;
    this.#settle(lane, entry.bucket);
  }

  /** Takes an entry out; false if it does not wait here. */
  remove(entry: T): boolean {
    const lane = this.#byBucket.get(entry.bucket);
    if (lane === undefined || !lane.entries.remove(entry)) return false;
    this.#rows -= entry.rows;
    this.#settle(lane, entry.bucket);
    return true;
  }

  /** Takes the next batch, from the bucket of the head: see `takeBatch`. */
  take(limits: BatchLimits): T[] {
    const lane = this.#lanes.head;
    if (lane === undefined) return [];
    const rowsBefore = lane.entries.rows;
    const batch = takeBatch(lane.entries, limits);
    this.#rows -= rowsBefore - lane.entries.rows;
    this.#settle(lane, batch[0]!.bucket);
    return batch;
  }

  /** Puts a lane where its head belongs now; an empty one is dropped. */
  #settle(lane: Lane<T>, bucket: string): void {
    const deadlineMs = lane.entries.head?.deadlineMs;
    if (deadlineMs === lane.deadlineMs && lane.queueIndex >= 0) return;
    this.#lanes.remove(lane);
    if (deadlineMs === undefined) this.#byBucket.delete(bucket);
    else {
      lane.deadlineMs = deadlineMs;
      this.#lanes.push(lane);
    }
  }
}

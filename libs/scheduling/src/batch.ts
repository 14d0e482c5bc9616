import type { EdfQueue, Queued } from "./edf-queue.ts";

/** An entry of a batch. `bytes`: of its payload. `isLoose`: its deadline does not bind; default false. */
export type Batchable = Queued & { readonly bytes: number; readonly isLoose?: boolean };

/**
 * `dueMs`: what is due earlier stays where it is; by default nothing does. `newestFirst`: while the entry with the earliest deadline is a
 * loose one, the one with the latest leaves in its place; default false.
 */
export type BatchLimits = {
  readonly rowsMax: number;
  readonly itemsMax: number;
  readonly bytesMax: number;
  readonly dueMs?: number;
  readonly newestFirst?: boolean;
};

/**
 * Takes the next batch from a queue, or fills one up from it: the longest prefix in the order of leaving that keeps the limits. An empty queue
 * gives an empty batch. An entry that is larger than a limit by itself leaves alone rather than block the queue.
 */
export function takeBatch<T extends Batchable>(queue: EdfQueue<T>, limits: BatchLimits, batch: T[] = []): T[] {
  const { dueMs = -Infinity, newestFirst = false } = limits;
  let rows = 0;
  let bytes = 0;
  for (const entry of batch) {
    rows += entry.rows;
    bytes += entry.bytes;
  }
  const next = (): T | undefined => {
    const { head } = queue;
    return newestFirst && head?.isLoose === true ? queue.last : head;
  };
  for (let head = next(); head !== undefined && head.deadlineMs >= dueMs; head = next()) {
    rows += head.rows;
    bytes += head.bytes;
    const fits = rows <= limits.rowsMax && bytes <= limits.bytesMax && batch.length < limits.itemsMax;
    if (batch.length > 0 && !fits) break;
    if (head === queue.head) queue.pop();
    else queue.remove(head);
    batch.push(head);
  }
  return batch;
}

import type { EdfQueue, Queued } from "./edf-queue.ts";

/** An entry of a batch. `bytes`: of its payload. */
export type Batchable = Queued & { readonly bytes: number };

/** `dueMs`: what is due earlier stays where it is; by default nothing does. */
export type BatchLimits = {
  readonly rowsMax: number;
  readonly itemsMax: number;
  readonly bytesMax: number;
  readonly dueMs?: number;
};

/**
 * Takes the next batch from a queue, or fills one up from it: the longest prefix in deadline order that keeps the limits. An empty queue
 * gives an empty batch. An entry that is larger than a limit by itself leaves alone rather than block the queue.
 */
export function takeBatch<T extends Batchable>(queue: EdfQueue<T>, limits: BatchLimits, batch: T[] = []): T[] {
  const { dueMs = -Infinity } = limits;
  let rows = 0;
  let bytes = 0;
  for (const entry of batch) {
    rows += entry.rows;
    bytes += entry.bytes;
  }
  for (let head = queue.head; head !== undefined && head.deadlineMs >= dueMs; head = queue.head) {
    rows += head.rows;
    bytes += head.bytes;
    const fits = rows <= limits.rowsMax && bytes <= limits.bytesMax && batch.length < limits.itemsMax;
    if (batch.length > 0 && !fits) break;
    queue.pop();
    batch.push(head);
  }
  return batch;
}

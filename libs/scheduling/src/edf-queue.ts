/** What the queue needs to know of an entry, and the place where it keeps its position (−1: not queued). */
export type Queued = { readonly deadlineMs: number; readonly rows: number; queueIndex: number };

/**
 * Earliest-deadline-first queue: a binary heap whose entries know their position, so that a cancelled one leaves at once.
 * Entries of equal deadline leave in no particular order. push, pop and remove are O(log n); head and rows are O(1).
 */
export class EdfQueue<T extends Queued> {
  readonly #heap: T[] = [];
  #rows = 0;
  /** No entry's deadline is later; entries that have left may have been. */
  #latestMs = -Infinity;

  get length(): number {
    return this.#heap.length;
  }

  /** Rows of all entries. */
  get rows(): number {
    return this.#rows;
  }

  /** The entry with the earliest deadline. */
  get head(): T | undefined {
    return this.#heap[0];
  }

  /**
   * Rows of the entries with an earlier deadline: all of them at once where none is later, which is so where all have the same time. Else
   * at most `entriesMax` are counted, and where there are more it is less than the truth. O(1), O(entriesMax).
   */
  rowsBefore(deadlineMs: number, entriesMax: number): number {
    if (deadlineMs > this.#latestMs) return this.#rows;
    const heap = this.#heap;
    let rows = 0;
    let left = entriesMax;
    // What stands below an entry is not earlier than it: branches end at the first that is not early enough.
    const open = [0];
    for (let index = open.pop(); index !== undefined && left > 0; index = open.pop()) {
      const entry = heap[index];
      if (entry === undefined || entry.deadlineMs >= deadlineMs) continue;
      rows += entry.rows;
      left--;
      open.push(2 * index + 2, 2 * index + 1);
    }
    return rows;
  }

  push(entry: T): void {
    this.#rows += entry.rows;
    this.#latestMs = this.#heap.length === 0 ? entry.deadlineMs : Math.max(this.#latestMs, entry.deadlineMs);
    this.#heap.push(entry);
    this.#up(this.#heap.length - 1, entry);
  }

  /** Takes the entry with the earliest deadline. */
  pop(): T | undefined {
    const head = this.#heap[0];
    if (head !== undefined) this.remove(head);
    return head;
  }

  /** Takes an entry out, wherever it is; false if it is not in this queue. */
  remove(entry: T): boolean {
    const index = entry.queueIndex;
    if (this.#heap[index] !== entry) return false;
    const last = this.#heap.pop()!;
    entry.queueIndex = -1;
    this.#rows -= entry.rows;
    if (last !== entry) this.#down(index, this.#up(index, last));
    return true;
  }

  /** Moves `entry` from a hole at `start` towards the head; returns the entry for chaining. */
  #up(start: number, entry: T): T {
    const heap = this.#heap;
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent]!;
      if (above.deadlineMs <= entry.deadlineMs) break;
      heap[index] = above;
      above.queueIndex = index;
      index = parent;
    }
    heap[index] = entry;
    entry.queueIndex = index;
    return entry;
  }

  #down(start: number, entry: T): void {
    const heap = this.#heap;
    if (entry.queueIndex !== start) return;
    let index = start;
    for (;;) {
      let child = index * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.deadlineMs < heap[child]!.deadlineMs) child++;
      const below = heap[child]!;
      if (below.deadlineMs >= entry.deadlineMs) break;
      heap[index] = below;
      below.queueIndex = index;
      index = child;
    }
    heap[index] = entry;
    entry.queueIndex = index;
  }
}

/** What the queue needs to know of an entry, and the place where it keeps the number that it gave it last. */
export type Queued = { readonly deadlineMs: number; readonly rows: number; queueIndex: number };

/** Entries of a block before it is cut in two: to move as many pointers costs as little as one step of a search. */
const BLOCK_ENTRIES_MAX = 64;

/** The last number given. Entries of equal deadline have the order of their numbers. */
export type Numbers = { last: number };

type Block<T> = { readonly entries: T[]; rows: number };

/**
 * Earliest-deadline-first queue, in blocks of sorted entries. Entries of equal deadline leave in the order in which they came. Where
 * all have the same time, which is the rule, push and pop work at the ends. head and rows are O(1); pop is O(block); push, remove and
 * rowsBefore are O(log n + block), and rowsBefore adds up the blocks on the nearer side: some 0.2 µs at 10,000.
 */
export class EdfQueue<T extends Queued> {
  readonly #blocks: Block<T>[] = [];
  readonly #numbers: Numbers;
  #length = 0;
  #rows = 0;

  /** `numbers`: of queues whose entries stand in another queue too, that all have different ones. */
  constructor(numbers: Numbers = { last: 0 }) {
    this.#numbers = numbers;
  }

  get length(): number {
    return this.#length;
  }

  /** Rows of all entries. */
  get rows(): number {
    return this.#rows;
  }

  /** The entry with the earliest deadline. */
  get head(): T | undefined {
    return this.#length === 0 ? undefined : this.#blocks[0]!.entries[0];
  }

  /** The head, by the name that a queue of several classes has for it. */
  get earliest(): T | undefined {
    return this.head;
  }

  /** The entry with the latest deadline. */
  get last(): T | undefined {
    return this.#blocks.at(-1)?.entries.at(-1);
  }

  /** The entries, the earliest deadline first. Nothing may come or go meanwhile. */
  *[Symbol.iterator](): Generator<T, void> {
    for (const { entries } of this.#blocks) yield* entries;
  }

  /** The entries, the latest deadline first. Nothing may come or go meanwhile. */
  *backwards(): Generator<T, void> {
    for (let at = this.#blocks.length - 1; at >= 0; at--) {
      const { entries } = this.#blocks[at]!;
      for (let i = entries.length - 1; i >= 0; i--) yield entries[i]!;
    }
  }

  /** Rows of the entries that leave before one of that deadline that comes now. */
  rowsBefore(deadlineMs: number): number {
    const { last } = this;
    if (last === undefined || last.deadlineMs <= deadlineMs) return this.#rows;
    const at = this.#blockFrom(deadlineMs, Infinity);
    let rows = this.#rowsOfBlocksBefore(at);
    for (const entry of this.#blocks[at]!.entries) {
      if (entry.deadlineMs > deadlineMs) break;
      rows += entry.rows;
    }
    return rows;
  }

  /**
   * The first entry of a later deadline that does not fit: `fits` is asked with the rows up to and with an entry, and its
   * deadline. It must not hold for more rows, or an earlier deadline, where it fails for less: stretches that fit as a whole are
   * passed over. O(blocks) at worst where all fits, and a block for each stretch that is tight.
   */
  firstMisfit(deadlineMs: number, fits: (rows: number, deadlineMs: number) => boolean): T | undefined {
    const { last } = this;
    if (last === undefined || last.deadlineMs <= deadlineMs || fits(this.#rows, deadlineMs)) return undefined;
    const blocks = this.#blocks;
    let at = this.#blockFrom(deadlineMs, Infinity);
    let rows = this.#rowsOfBlocksBefore(at);
    for (; at < blocks.length; at++) {
      const block = blocks[at]!;
      const firstMs = Math.max(deadlineMs, block.entries[0]!.deadlineMs);
      if (fits(this.#rows, firstMs)) return undefined;
      if (fits(rows + block.rows, firstMs)) {
        rows += block.rows;
        continue;
      }
      for (const entry of block.entries) {
        rows += entry.rows;
        if (entry.deadlineMs > deadlineMs && !fits(rows, entry.deadlineMs)) return entry;
      }
    }
    return undefined;
  }

  push(entry: T): void {
    entry.queueIndex = ++this.#numbers.last;
    this.insert(entry);
  }

  /** Takes in an entry that has its number from another queue: it stands there too, or for the head of that queue. */
  insert(entry: T): void {
    this.#rows += entry.rows;
    this.#length++;
    const blocks = this.#blocks;
    const { last } = this;
    if (last === undefined || isBefore(last, entry)) {
      const block = blocks.at(-1);
      if (block === undefined || block.entries.length >= BLOCK_ENTRIES_MAX) {
        blocks.push({ entries: [entry], rows: entry.rows });
      } else {
        block.entries.push(entry);
        block.rows += entry.rows;
      }
      return;
    }
    const at = this.#blockFrom(entry.deadlineMs, entry.queueIndex);
    const block = blocks[at]!;
    block.entries.splice(indexIn(block.entries, entry), 0, entry);
    block.rows += entry.rows;
    if (block.entries.length > BLOCK_ENTRIES_MAX) blocks.splice(at + 1, 0, cutInHalf(block));
  }

  /** Takes the entry with the earliest deadline. */
  pop(): T | undefined {
    if (this.#length === 0) return undefined;
    const block = this.#blocks[0]!;
    const entry = block.entries.shift()!;
    this.#took(entry, 0);
    return entry;
  }

  /** Takes an entry out, wherever it is; false if it is not in this queue. */
  remove(entry: T): boolean {
    const at = this.#blockFrom(entry.deadlineMs, entry.queueIndex);
    const entries = this.#blocks[at]?.entries;
    if (entries === undefined) return false;
    const index = indexIn(entries, entry);
    if (entries[index] !== entry) return false;
    entries.splice(index, 1);
    this.#took(entry, at);
    return true;
  }

  #took(entry: T, at: number): void {
    const block = this.#blocks[at]!;
    block.rows -= entry.rows;
    this.#rows -= entry.rows;
    this.#length--;
    if (block.entries.length === 0) this.#blocks.splice(at, 1);
  }

  /** The first block whose last entry does not come before that deadline and number. O(log n). */
  #blockFrom(deadlineMs: number, number: number): number {
    const blocks = this.#blocks;
    let low = 0;
    let high = blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { entries } = blocks[middle]!;
      const last = entries[entries.length - 1]!;
      if (last.deadlineMs < deadlineMs || (last.deadlineMs === deadlineMs && last.queueIndex < number))
        low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #rowsOfBlocksBefore(at: number): number {
    const blocks = this.#blocks;
    let rows = 0;
    if (2 * at <= blocks.length) {
      for (let i = 0; i < at; i++) rows += blocks[i]!.rows;
      return rows;
    }
    for (let i = at; i < blocks.length; i++) rows += blocks[i]!.rows;
    return this.#rows - rows;
  }
}

/** Where an entry stands, or would stand, among sorted ones. */
function indexIn(entries: readonly Queued[], entry: Queued): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBefore(entries[middle]!, entry)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function isBefore(a: Queued, b: Queued): boolean {
  return a.deadlineMs < b.deadlineMs || (a.deadlineMs === b.deadlineMs && a.queueIndex < b.queueIndex);
}

/** Cuts the second half off a block, and returns it. */
function cutInHalf<T extends Queued>(block: Block<T>): Block<T> {
  const entries = block.entries.splice(block.entries.length >>> 1);
  let rows = 0;
  for (const entry of entries) rows += entry.rows;
  block.rows -= rows;
  return { entries, rows };
}

/** What a store has told of one entity, undefined where it does not know it, and until when that is fresh. */
export type CacheEntry<Value> = { readonly value: Value | undefined; readonly freshUntilMs: number };

/** A longer id is not kept: clients choose ids, and ten thousand of a megabyte would fill the memory. */
const ID_CHARS_MAX = 1024;

/**
 * The last look-ups, so many at most: the one that was used longest ago leaves first. Entries that are not fresh any more stay, for
 * whoever would rather have an old answer than none. O(1).
 */
export class FeatureCache<Value> {
  readonly #entriesMax: number;
  /** In the order of their last use: a Map keeps the order in which keys were set. */
  readonly #entries = new Map<string, CacheEntry<Value>>();

  /** `entriesMax`: 0 or more; 0 keeps nothing. */
  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(id: string): CacheEntry<Value> | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined) return undefined;
    this.#entries.delete(id);
    this.#entries.set(id, entry);
    return entry;
  }

  set(id: string, entry: CacheEntry<Value>): void {
    if (this.#entriesMax === 0 || id.length > ID_CHARS_MAX) return;
    this.#entries.delete(id);
    this.#entries.set(id, entry);
    if (this.#entries.size <= this.#entriesMax) return;
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined) this.#entries.delete(oldest);
  }
}

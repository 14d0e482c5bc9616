/** Deadlines are kept to this many ms; an entry expires up to one grain late, never early. */
export const WHEEL_GRAIN_MS = 8;

const SLOTS = 1024;

/** What the wheel needs to know of an entry, and the place where it keeps its position in a slot (−1: in none). */
export type Wheeled = { readonly deadlineMs: number; wheelIndex: number };

/**
 * Deadlines of many requests without a timer for each: entries lie in slots of 8 ms, 1,024 slots to a turn; an entry of a later
 * turn stays in its slot. Entries know their position, so add and remove are O(1) and allocate nothing; expire looks at the
 * slots that have passed since the last call.
 */
export class DeadlineWheel<T extends Wheeled> {
  readonly #slots: T[][] = Array.from({ length: SLOTS }, () => []);
  #size = 0;
  #nextGrain = 0;

  get size(): number {
    return this.#size;
  }

  add(entry: T): void {
    const grain = grainOf(entry.deadlineMs);
    // With nothing inside there is nothing to look back for; with something, a deadline in the past is found by the next call.
    if (this.#size === 0) this.#nextGrain = grain;
    else this.#nextGrain = Math.min(this.#nextGrain, grain);
    entry.wheelIndex = this.#slots[grain % SLOTS]!.push(entry) - 1;
    this.#size++;
  }

  remove(entry: T): void {
    const slot = this.#slots[grainOf(entry.deadlineMs) % SLOTS]!;
    const { wheelIndex } = entry;
    if (slot[wheelIndex] !== entry) return;
    // The last one takes its place.
    const last = slot.pop()!;
    if (last !== entry) {
      slot[wheelIndex] = last;
      last.wheelIndex = wheelIndex;
    }
    entry.wheelIndex = -1;
    this.#size--;
  }

  /** Takes out every entry whose deadline has passed. */
  expire(nowMs: number): T[] {
    const expired: T[] = [];
    if (this.#size === 0) return expired;
    const grainNow = Math.floor(nowMs / WHEEL_GRAIN_MS);
    const first = Math.max(this.#nextGrain, grainNow - SLOTS + 1);
    for (let grain = first; grain <= grainNow; grain++) {
      for (const entry of this.#slots[grain % SLOTS]!) if (entry.deadlineMs <= nowMs) expired.push(entry);
    }
    for (const entry of expired) this.remove(entry);
    this.#nextGrain = Math.max(this.#nextGrain, grainNow + 1);
    return expired;
  }
}

/** The first grain that begins at or after the deadline. */
function grainOf(deadlineMs: number): number {
  return Math.max(0, Math.ceil(deadlineMs / WHEEL_GRAIN_MS));
}

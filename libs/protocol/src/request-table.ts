/** Of the slots at least this share stays free, so that a search ends soon. */
const FREE_SHARE = 0.5;

const SLOTS_MIN = 64;

/**
 * 2^32 over the golden ratio: its multiples spread consecutive numbers evenly over the slots (Knuth, TAOCP 3, 6.4). Were they neighbours,
 * each deletion would go through all that are open.
 */
const SPREAD = 0x9e3779b1;

/** No request has this number. */
const NOBODY = -1;

/**
 * Open requests by their number (0 to 2^53 − 1): a hash table with open addressing; all calls are O(1) for
 * numbers that are counted up, as every sender of MRP/1 does, and O(size) for numbers made to collide.
 *
 * Not a Map: when a Map has filled up with deleted entries, the copy that it makes hangs on the table that it leaves behind.
 * As soon as one such table is in the old generation, each of them and all requests in them survive until the next full
 * collection, which costs more than everything else a request needs (docs/performance.md). This one grows and never shrinks.
 */
export class RequestTable<T> {
  #numbers = new Float64Array(SLOTS_MIN).fill(NOBODY);
  #requests: (T | undefined)[] = Array.from({ length: SLOTS_MIN }, () => undefined);
  #size = 0;
  /** What leaves so many bits of 32 as slots have. */
  #shift = 32 - Math.log2(SLOTS_MIN);

  get size(): number {
    return this.#size;
  }

  get(number: number): T | undefined {
    return this.#requests[this.#slotOf(number)];
  }

  has(number: number): boolean {
    return this.get(number) !== undefined;
  }

  set(number: number, request: T): void {
    if (this.#size >= this.#numbers.length * (1 - FREE_SHARE)) this.#grow();
    const slot = this.#slotOf(number);
    if (this.#numbers[slot] === NOBODY) this.#size++;
    this.#numbers[slot] = number;
    this.#requests[slot] = request;
  }

  /** Whether it was there. */
  delete(number: number): boolean {
    const numbers = this.#numbers;
    const mask = numbers.length - 1;
    const shift = this.#shift;
    let hole = this.#slotOf(number);
    if (numbers[hole] === NOBODY) return false;
    // What follows and belongs at the hole or before it moves up: a search never has to pass over deleted entries.
    for (let slot = (hole + 1) & mask; numbers[slot] !== NOBODY; slot = (slot + 1) & mask) {
      const home = Math.imul(numbers[slot]!, SPREAD) >>> shift;
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      numbers[hole] = numbers[slot]!;
      this.#requests[hole] = this.#requests[slot];
      hole = slot;
    }
    numbers[hole] = NOBODY;
    this.#requests[hole] = undefined;
    this.#size--;
    return true;
  }

  /** All requests, in no particular order; a copy, so that they may end while one goes through them. */
  values(): T[] {
    return this.#requests.filter((request) => request !== undefined);
  }

  /** The slot that has the number, or the free one where it belongs. Numbers are counted up, so they rarely collide. */
  #slotOf(number: number): number {
    const numbers = this.#numbers;
    const mask = numbers.length - 1;
    let slot = Math.imul(number, SPREAD) >>> this.#shift;
    while (numbers[slot] !== number && numbers[slot] !== NOBODY) slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const numbers = this.#numbers;
    const requests = this.#requests;
    this.#numbers = new Float64Array(numbers.length * 2).fill(NOBODY);
    this.#shift--;
    this.#requests = Array.from({ length: numbers.length * 2 }, () => undefined);
    for (let i = 0; i < numbers.length; i++) {
      if (numbers[i] === NOBODY) continue;
      const slot = this.#slotOf(numbers[i]!);
      this.#numbers[slot] = numbers[i]!;
      this.#requests[slot] = requests[i];
    }
  }
}

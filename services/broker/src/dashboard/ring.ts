/** The latest samples of fixed width, column by column; the oldest makes room for the newest. Push is O(width). */
export class Ring {
  readonly #width: number;
  readonly #capacity: number;
  readonly #values: Float64Array;
  #next = 0;
  #length = 0;

  constructor(width: number, capacity: number) {
    this.#width = width;
    this.#capacity = capacity;
    this.#values = new Float64Array(width * capacity);
  }

  get length(): number {
    return this.#length;
  }

  push(sample: ArrayLike<number>): void {
    for (let column = 0; column < this.#width; column++)
      this.#values[column * this.#capacity + this.#next] = sample[column] ?? Number.NaN;
    this.#next = (this.#next + 1) % this.#capacity;
    this.#length = Math.min(this.#length + 1, this.#capacity);
  }

  /** All values of each column, the oldest first. */
  columns(): number[][] {
    return Array.from({ length: this.#width }, (_, column) => {
      const values = this.#values.subarray(column * this.#capacity, column * this.#capacity + this.#capacity);
      if (this.#length < this.#capacity) return [...values.subarray(0, this.#length)];
      return [...values.subarray(this.#next), ...values.subarray(0, this.#next)];
    });
  }
}

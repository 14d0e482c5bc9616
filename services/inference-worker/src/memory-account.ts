/**
 * Counts the copies of models against the memory that they may take together. Each slot of a model holds a copy of its own. What a copy
 * takes is known for certain only when it is loaded: before, the size of its file is the least that it can be.
 */
export class MemoryAccount {
  /** Bytes of all copies. */
  bytes = 0;
  readonly #bytesMax: number;

  /** `bytesMax`: 0 = no limit. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Why copies of so many bytes together cannot be taken in, in words for the model's owner; "" where they can. */
  refusalOf(bytes: number): string {
    if (this.#bytesMax === 0 || this.bytes + bytes <= this.#bytesMax) return "";
    return `its copies, one a slot, take ${bytes} bytes at least; other models have ${this.bytes} of the ${this.#bytesMax} that --model-bytes-max allows`;
  }
}

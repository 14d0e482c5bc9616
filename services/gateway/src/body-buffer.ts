import { Refusal } from "./refusal.ts";

/** The first buffer that pieces are copied to, in bytes; it doubles from there. */
const CAPACITY_MIN = 64 * 1024;

/**
 * A body that arrives in pieces. The first piece is kept as it is, which is all there is of most bodies; further ones are copied
 * together at once, so that memory is bounded by the bytes (twice) and not by the number of pieces: kept apart, sixteen million
 * pieces of one byte would take gigabytes.
 */
export class BodyBuffer {
  #bytes = 0;
  /** The only piece so far, which is the socket's memory, or our own buffer, filled up to `#bytes`. */
  #held: Buffer | undefined;
  #isOwn = false;

  get bytes(): number {
    return this.#bytes;
  }

  /** `bytesExpected`: of the whole body, Infinity where it is not known. */
  append(piece: Buffer, bytesExpected: number): void {
    const bytes = this.#bytes + piece.byteLength;
    if (this.#held === undefined) this.#held = piece;
    else {
      if (!this.#isOwn || this.#held.byteLength < bytes) this.#grow(bytes, bytesExpected);
      piece.copy(this.#held, this.#bytes);
    }
    this.#bytes = bytes;
  }

  /** What has arrived; borrowed from the socket until it is read on, so use it at once. */
  take(): Buffer {
    const held = this.#held ?? Buffer.alloc(0);
    this.#held = undefined;
    return held.byteLength === this.#bytes ? held : held.subarray(0, this.#bytes);
  }

  #grow(bytes: number, bytesExpected: number): void {
    const capacity = Math.max(CAPACITY_MIN, 2 * bytes);
    const own = Buffer.allocUnsafeSlow(Math.min(capacity, bytesExpected));
    this.#held?.copy(own, 0, 0, this.#bytes);
    this.#held = own;
    this.#isOwn = true;
  }
}

/** The refusal of a body beyond the limit. */
export function bodyTooLarge(bytesMax: number): Refusal {
  return new Refusal("body_too_large", `the body is larger than ${bytesMax} bytes`);
}

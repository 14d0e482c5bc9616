import { Refusal } from "./refusal.ts";

/** The first buffer that pieces are copied to, in bytes; it doubles from there, until the whole is allocated. */
const CAPACITY_MIN = 64 * 1024;

/**
 * The whole of a body whose length is announced is allocated when one part in so many has come: then nearly all bytes are copied
 * once, and nobody who announces much and sends little takes up more than so many times what was sent.
 */
const WHOLE_PARTS = 32;

/** From so many bytes on a piece that was copied gives its memory back at once. */
const RELEASE_BYTES_MIN = 16 * 1024;

/**
 * A body that arrives in pieces. The first piece is kept as it is, which is all there is of most bodies; further ones are copied
 * together at once, so that memory is bounded by the bytes (32 times) and not by the number of pieces: kept apart, sixteen million
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

  /** Takes a piece: nobody may look at it afterwards. `bytesExpected`: of the whole body, Infinity where it is not known. */
  append(piece: Buffer, bytesExpected: number): void {
    const bytes = this.#bytes + piece.byteLength;
    if (this.#held === undefined) this.#held = piece;
    else {
      if (!this.#isOwn || this.#held.byteLength < bytes) this.#grow(bytes, bytesExpected);
      piece.copy(this.#held, this.#bytes);
      release(piece);
    }
    this.#bytes = bytes;
  }

  /** What has arrived, in memory of its own: node copies what it reads from a socket for each piece. */
  take(): Buffer {
    const held = this.#held ?? Buffer.alloc(0);
    this.#held = undefined;
    return held.byteLength === this.#bytes ? held : held.subarray(0, this.#bytes);
  }

  #grow(bytes: number, bytesExpected: number): void {
    const isWhole = bytes * WHOLE_PARTS >= bytesExpected;
    const capacity = isWhole ? bytesExpected : Math.min(bytesExpected, Math.max(CAPACITY_MIN, 2 * bytes));
    const own = Buffer.allocUnsafeSlow(capacity);
    this.#held?.copy(own, 0, 0, this.#bytes);
    if (this.#held !== undefined) release(this.#held);
    this.#held = own;
    this.#isOwn = true;
  }
}

/**
 * Frees the memory of a buffer that has it for itself. Left to the collector, the pieces of every hundred bodies of 600 kB make V8
 * look through its whole heap, which takes more than half of what such a body costs (docs/performance.md).
 */
function release({ buffer, byteLength }: Buffer): void {
  if (byteLength >= RELEASE_BYTES_MIN && buffer.byteLength === byteLength) (buffer as ArrayBuffer).transfer(0);
}

/** The refusal of a body beyond the limit. */
export function bodyTooLarge(bytesMax: number): Refusal {
  return new Refusal("body_too_large", `the body is larger than ${bytesMax} bytes`);
}

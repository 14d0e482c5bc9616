import { LIMITS } from "./limits.ts";

/** Shared frames keep payloads at multiples of this, so that an 8-byte element type can view them in place. */
const ALIGNMENT_BYTES = 8;

const EMPTY = Buffer.alloc(0);

/** Where a payload stands in a message: payload frame (0 = the first behind the header), offset and length in bytes. */
export type PayloadRef = { readonly frame: number; readonly offset: number; readonly length: number };

/**
 * Lays payloads out in frames: small ones are copied into shared frames, large ones become frames of their own without a
 * copy, and so does a small one that no other shares its frame with. Such buffers belong to the message: they are sent by
 * reference, so they must never change again.
 */
export class PayloadPacker {
  readonly #frames: Uint8Array[] = [];
  #shared: { payload: Uint8Array; offset: number }[] = [];
  #sharedIndex = -1;
  #sharedBytes = 0;

  add(payload: Uint8Array): PayloadRef {
    const length = payload.byteLength;
    if (length === 0) return { frame: 0, offset: 0, length: 0 };
    if (length >= LIMITS.packBelowBytes) {
      this.#frames.push(payload);
      return { frame: this.#frames.length - 1, offset: 0, length };
    }
    if (this.#sharedIndex < 0 || this.#sharedBytes + length > LIMITS.sharedFrameBytes) this.#openShared();
    const offset = this.#sharedBytes;
    this.#shared.push({ payload, offset });
    this.#sharedBytes = (offset + length + ALIGNMENT_BYTES - 1) & -ALIGNMENT_BYTES;
    return { frame: this.#sharedIndex, offset, length };
  }

  /** The payload frames, in order; the packer is then spent. */
  finish(): Uint8Array[] {
    this.#closeShared();
    return this.#frames;
  }

  #openShared(): void {
    this.#closeShared();
    this.#sharedIndex = this.#frames.length;
    this.#frames.push(EMPTY);
  }

  #closeShared(): void {
    if (this.#sharedIndex < 0) return;
    const last = this.#shared.at(-1);
    const first = this.#shared[0];
    if (last === undefined || first === undefined) return;
    if (this.#shared.length === 1) this.#frames[this.#sharedIndex] = first.payload;
    else {
      const frame = Buffer.allocUnsafe(last.offset + last.payload.byteLength);
      let end = 0;
      for (const { payload, offset } of this.#shared) {
        if (offset > end) frame.fill(0, end, offset);
        frame.set(payload, offset);
        end = offset + payload.byteLength;
      }
      this.#frames[this.#sharedIndex] = frame;
    }
    this.#shared = [];
    this.#sharedIndex = -1;
    this.#sharedBytes = 0;
  }
}

/** Finds payloads in the frames of a message. Never throws, whatever the references. */
export class PayloadReader {
  readonly #frames: readonly Buffer[];
  #bytesLeft = 0;

  /** `frames`: the payload frames, without the header. */
  constructor(frames: readonly Buffer[]) {
    this.#frames = frames;
    for (const frame of frames) this.#bytesLeft += frame.byteLength;
  }

  /**
   * The bytes that a reference names: a view into its frame. Undefined where it points outside, or where the references so far
   * name more bytes than the frames hold: payloads may not overlap, for a small message must not grow when it is forwarded.
   */
  take(ref: PayloadRef): Buffer | undefined {
    if (ref.length === 0) return EMPTY;
    const frame = this.#frames[ref.frame];
    if (frame === undefined || ref.length > LIMITS.payloadBytes) return undefined;
    if (ref.offset + ref.length > frame.byteLength || ref.length > this.#bytesLeft) return undefined;
    this.#bytesLeft -= ref.length;
    return frame.subarray(ref.offset, ref.offset + ref.length);
  }
}

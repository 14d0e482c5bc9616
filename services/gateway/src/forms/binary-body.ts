import { quote, Refusal } from "../http/refusal.ts";

/**
 * The binary tensor data extension of the Open Inference Protocol: a body that is JSON followed by the bytes of tensors, one behind
 * the other, where the header `Inference-Header-Content-Length` tells how long the JSON is. Pure.
 * Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md.
 */

/** The JSON's length where no header tells it: it is the whole body. */
export const ALL_JSON = -1;

/** Binary answers start their tensors at a multiple of this, so that a client's typed arrays of any element size can view them. */
const ALIGNMENT_BYTES = 8;

/** The value of the header, in bytes; `ALL_JSON` where it is not given. `invalid_request` where it is no length. */
export function readJsonBytes(header: string | undefined): number | Refusal {
  if (header === undefined) return ALL_JSON;
  const bytes = /^\d{1,15}$/.test(header) ? Number(header) : -1;
  if (bytes >= 0) return bytes;
  return new Refusal(
    "invalid_request",
    `header Inference-Header-Content-Length must be a number of bytes, 0 or more, it is ${quote(header)}`,
  );
}

/** The JSON of a body; `invalid_request` where the body is shorter than the header says. A view. */
export function jsonOf(body: Buffer, jsonBytes: number): Buffer | Refusal {
  if (jsonBytes === ALL_JSON) return body;
  if (jsonBytes <= body.byteLength) return body.subarray(0, jsonBytes);
  return new Refusal(
    "invalid_request",
    `header Inference-Header-Content-Length says ${jsonBytes}, the body has ${body.byteLength} bytes`,
  );
}

/** The bytes of a body that follow its JSON, taken from the front, input by input. Gives views: nothing is copied. */
export class BlobReader {
  readonly #body: Buffer;
  #at: number;

  constructor(body: Buffer, from: number) {
    this.#body = body;
    this.#at = from;
  }

  get bytesLeft(): number {
    return this.#body.byteLength - this.#at;
  }

  /** The next bytes, or undefined where fewer are left. */
  take(bytes: number): Buffer | undefined {
    if (bytes > this.bytesLeft) return undefined;
    return this.#body.subarray(this.#at, (this.#at += bytes));
  }
}

/** What a request without bytes behind its JSON reads them from. */
export const NO_BLOBS = new BlobReader(Buffer.alloc(0), 0);

/** An answer that is JSON followed by the bytes of tensors. */
export type BinaryAnswer = {
  /** The JSON, then the tensors' bytes, which are borrowed: to be written one after the other. */
  readonly parts: readonly Uint8Array[];
  /** Bytes of the JSON, with the spaces that fill it up to a multiple of 8: for the header. */
  readonly jsonBytes: number;
};

/** Puts an answer together without copying the tensors. */
export function binaryAnswer(json: string, blobs: readonly Uint8Array[]): BinaryAnswer {
  const bytes = Buffer.byteLength(json);
  const jsonBytes = Math.ceil(bytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
  return { parts: [Buffer.from(json.padEnd(json.length + jsonBytes - bytes)), ...blobs], jsonBytes };
}

import { deflate, gunzip, gzip, inflate, constants, type ZlibOptions } from "node:zlib";
import type { Coding } from "./content-coding.ts";
import { bodyTooLarge } from "./body-buffer.ts";
import { Refusal } from "./refusal.ts";

/** Compresses and expands bodies on the threads of libuv, so that nobody waits for it but the call. */

/** A shorter answer is sent as it is: one packet either way. */
export const COMPRESS_BYTES_MIN = 1024;

/** Pieces in which zlib gives what it has expanded: from and to so many bytes, by the body's size. */
const PIECE_BYTES_MIN = 16 * 1024;
const PIECE_BYTES_MAX = 1024 * 1024;

/** Tensors compress little: what more than this level gains is not worth the time. */
const LEVEL = constants.Z_BEST_SPEED;

const EXPANDERS = { gzip: gunzip, deflate: inflate } as const;
const COMPRESSORS = { gzip, deflate } as const;

/**
 * Expands a body and calls back once, later: with memory of its own, or with `body_too_large` as soon as it is larger than
 * `bytesMax`, whatever else would come, or `invalid_request` for bytes that are not of that coding, are cut short or go on behind it.
 */
export function expand(
  body: Buffer,
  { coding, bytesMax }: { readonly coding: Coding; readonly bytesMax: number },
  onBody: (body: Buffer | Refusal) => void,
): void {
  const chunkSize = Math.min(PIECE_BYTES_MAX, Math.max(PIECE_BYTES_MIN, 2 * body.byteLength));
  // A gzip body may have several members, one behind the other (RFC 1952 §2.2); what is none is refused in any case.
  const options: ZlibOptions = { maxOutputLength: bytesMax, chunkSize, rejectGarbageAfterEnd: coding === "deflate" };
  EXPANDERS[coding](body, options, (error, expanded) => {
    if (error === null) return onBody(expanded);
    const isLarge = (error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE";
    onBody(
      isLarge ? bodyTooLarge(bytesMax) : new Refusal("invalid_request", `the body is not ${coding}: ${error.message}`),
    );
  });
}

/** Compresses an answer and calls back once, later; with undefined where zlib fails, as it does without memory. */
export function compress(
  body: string | readonly Uint8Array[],
  coding: Coding,
  onBody: (body: Buffer | undefined) => void,
): void {
  const bytes = typeof body === "string" ? Buffer.from(body) : Buffer.concat(body);
  COMPRESSORS[coding](bytes, { level: LEVEL }, (error, compressed) => onBody(error === null ? compressed : undefined));
}

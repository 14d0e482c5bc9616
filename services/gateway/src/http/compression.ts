import { constants, createGunzip, createInflate, deflate, gzip, type ZlibOptions } from "node:zlib";
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

const EXPANDERS = { gzip: createGunzip, deflate: createInflate } as const;
const COMPRESSORS = { gzip, deflate } as const;

export type Expansion = {
  readonly coding: Coding;
  readonly bytesMax: number;
  /** Counts bytes as they come, so that a thousand bodies that expand at once are bounded too; a refusal ends this one. */
  readonly hold: (bytes: number) => Refusal | undefined;
};

/**
 * Expands a body and calls back once, later: with memory of its own, with `body_too_large` as soon as it is larger than `bytesMax`,
 * with the refusal of `hold`, or `invalid_request` for bytes that are not of that coding, are cut short or go on behind it.
 */
export function expand(
  body: Buffer,
  { coding, bytesMax, hold }: Expansion,
  onBody: (body: Buffer | Refusal) => void,
): void {
  const chunkSize = Math.min(PIECE_BYTES_MAX, Math.max(PIECE_BYTES_MIN, 2 * body.byteLength));
  // A gzip body may have several members, one behind the other, and be filled up with zeros (RFC 1952 §2.2, as gzip does it).
  const options: ZlibOptions = { chunkSize, rejectGarbageAfterEnd: coding === "deflate" };
  const stream = EXPANDERS[coding](options);
  const pieces: Buffer[] = [];
  let bytes = 0;
  stream.on("data", (piece: Buffer) => {
    if (stream.destroyed) return;
    bytes += piece.byteLength;
    const refusal = bytes > bytesMax ? bodyTooLarge(bytesMax) : hold(piece.byteLength);
    if (refusal === undefined) return void pieces.push(piece);
    stream.destroy();
    onBody(refusal);
  });
  stream.on("error", (error) => onBody(new Refusal("invalid_request", `the body is not ${coding}: ${error.message}`)));
  stream.on("end", () => onBody(Buffer.concat(pieces, bytes)));
  stream.end(body);
}

/** Compresses an answer and calls back once, later; with undefined where zlib fails, as it does without memory. */
export function compress(
  body: string | readonly Uint8Array[],
  coding: Coding,
  onBody: (body: Buffer | undefined) => void,
): void {
  const bytes = typeof body === "string" ? Buffer.from(body) : body.length === 1 ? body[0]! : Buffer.concat(body);
  COMPRESSORS[coding](bytes, { level: LEVEL }, (error, compressed) => onBody(error === null ? compressed : undefined));
}

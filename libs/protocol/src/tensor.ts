import type { Datatype } from "./datatype.ts";
import { DATATYPES } from "./datatype.ts";

/** A dimension that a model leaves open: any size, zero included. */
export const FREE = -1;

/** One input or output of a model. `shape` includes the batch dimension; `FREE` (-1) marks an open dimension. */
export type TensorSpec = {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
};

/**
 * One tensor of a request or an answer.
 *
 * `data` is raw little-endian, row-major, unpadded; BYTES elements are each a uint32 length and the bytes.
 * It is borrowed from the message or body that it came in, may start at any alignment, and must not be changed.
 */
export type Tensor = {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
};

/** The number of elements of a concrete shape (1 for a scalar); may exceed 2^53 for hostile shapes, then inexact. */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const size of shape) count *= size;
  return count;
}

/**
 * Whether `data` is as long as datatype and shape ask for; BYTES elements are walked, O(elements).
 * Never throws, whatever the bytes.
 */
export function isWellSized(datatype: Datatype, shape: readonly number[], data: Uint8Array): boolean {
  const count = elementCount(shape);
  const size = DATATYPES[datatype].bytes;
  if (size > 0) return data.byteLength === count * size;
  return bytesElementsEnd(data, 0, count) === data.byteLength;
}

/**
 * Where `count` BYTES elements end that start at `offset`, or -1 if the data ends before they do.
 * O(count); the cost of cutting a BYTES tensor at a row.
 */
export function bytesElementsEnd(data: Uint8Array, offset: number, count: number): number {
  let at = offset;
  for (let i = 0; i < count; i++) {
    if (at + 4 > data.byteLength) return -1;
    const length = data[at]! + data[at + 1]! * 0x100 + data[at + 2]! * 0x1_0000 + data[at + 3]! * 0x100_0000;
    at += 4 + length;
    if (at > data.byteLength) return -1;
  }
  return at;
}

/** Strings (as UTF-8) and bytes to BYTES elements; copies. */
export function encodeStrings(values: readonly (string | Uint8Array)[]): Uint8Array {
  let total = 0;
  const lengths = new Uint32Array(values.length);
  for (let i = 0; i < values.length; i++) total += 4 + (lengths[i] = Buffer.byteLength(values[i]!));
  const data = Buffer.allocUnsafe(total);
  let at = 0;
  for (let i = 0; i < values.length; i++) {
    at = data.writeUInt32LE(lengths[i]!, at);
    const value = values[i]!;
    if (typeof value === "string") data.write(value, at);
    else data.set(value, at);
    at += lengths[i]!;
  }
  return data;
}

/**
 * BYTES elements to strings, or undefined where the data is cut short or an element is not UTF-8
 * (such elements can travel in binary form only).
 */
export function decodeStrings(data: Uint8Array, count: number): string[] | undefined {
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const values: string[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const end = bytesElementsEnd(data, at, 1);
    if (end < 0) return undefined;
    try {
      values.push(utf8.decode(data.subarray(at + 4, end)));
    } catch {
      return undefined;
    }
    at = end;
  }
  return values;
}

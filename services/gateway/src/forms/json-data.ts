import { DATATYPES, type Datatype, elementCount, encodeStrings } from "@millrace/protocol";
import { SINGLE_OVERFLOW } from "./json-singles.ts";
import { describe, quote, Refusal, shapeText } from "../http/refusal.ts";

/**
 * JSON values to the raw bytes of a tensor. Pure, except that the memory it returns comes from Node's buffer pool.
 */

/** The answer of `encodeData` where some integer needs its source text: call it again with values from `parseExact`. */
export const NEEDS_EXACT = Symbol("needs exact integers");

/** A model's input or a client's: what the data must be. `shape` is concrete. */
export type DataForm = {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  /** Whether an element of BYTES may be `{"b64": "…"}`. */
  readonly takesBase64?: boolean;
};

const TWO_TO_32 = 2 ** 32;
const TWO_TO_64 = 2 ** 64;

/**
 * Encodes `data`, nested as `form.shape` says or flat, to little-endian, row-major bytes, owned by the caller and aligned to
 * 8 bytes. Refuses with `invalid_shape` (nesting or number of elements), `invalid_value` (an element's type or range) or
 * `invalid_datatype` (a type that JSON cannot carry). O(elements); never throws on values that JSON.parse made.
 */
export function encodeData(form: DataForm, data: readonly unknown[]): Uint8Array | Refusal | typeof NEEDS_EXACT {
  const leaves = leavesOf(form, data);
  if (leaves instanceof Refusal) return leaves;
  if (form.datatype === "BYTES") return encodeTexts(form, leaves);
  if (!DATATYPES[form.datatype].json) {
    return new Refusal(
      "invalid_datatype",
      `input ${quote(form.name)}: ${form.datatype} can be sent in binary form only`,
    );
  }
  const target = allocate(elementCount(form.shape) * DATATYPES[form.datatype].bytes);
  const fault = encodeLeaves(form.datatype, leaves, target);
  if (fault === NONE) return target;
  return fault === SEE_SOURCE ? NEEDS_EXACT : valueFault(form, leaves, fault);
}

/** The innermost arrays of `data`, in order: one, if it is flat. Their lengths add up to the shape's element count. */
function leavesOf(form: DataForm, data: readonly unknown[]): Leaves | Refusal {
  const { shape } = form;
  if (!Array.isArray(data[0])) {
    const count = elementCount(shape);
    if (data.length === count) return [data];
    return new Refusal(
      "invalid_shape",
      `input ${quote(form.name)}: shape ${shapeText(shape)} has ${count} elements, data has ${data.length}`,
    );
  }
  const leaves: (readonly unknown[])[] = [];
  return collectLeaves(form, { value: data, depth: 0, leaves }) ?? leaves;
}

/** Recursion is bounded by the shape's rank, whatever the nesting of the data. */
function collectLeaves(
  form: DataForm,
  at: { value: unknown; depth: number; leaves: (readonly unknown[])[] },
): Refusal | undefined {
  const { value, depth, leaves } = at;
  const size = form.shape[depth];
  if (!Array.isArray(value) || value.length !== size) {
    const given = Array.isArray(value) ? `an array of ${value.length}` : describe(value);
    const expected = size === undefined ? "an element" : `an array of ${size}`;
    return new Refusal(
      "invalid_shape",
      `input ${quote(form.name)}: shape ${shapeText(form.shape)} needs ${expected} at depth ${depth}, data has ${given}`,
    );
  }
  if (depth === form.shape.length - 1) {
    leaves.push(value);
    return undefined;
  }
  for (const child of value) {
    const refusal = collectLeaves(form, { value: child, depth: depth + 1, leaves });
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** Pooled memory, aligned so that every typed array can view it. */
function allocate(bytes: number): Buffer {
  const buffer = Buffer.allocUnsafe(bytes);
  return buffer.byteOffset % 8 === 0 ? buffer : Buffer.allocUnsafeSlow(bytes);
}

/** What the encoders below return instead of the index of an element that does not fit. */
const NONE = -1;
/** ... where an integer must be looked up in the source text, because JSON.parse has rounded it. */
const SEE_SOURCE = -2;

type Leaves = readonly (readonly unknown[])[];

/** Fills `target` with the elements; returns NONE, SEE_SOURCE or the index of the first element that does not fit. */
function encodeLeaves(datatype: Datatype, leaves: Leaves, target: Buffer): number {
  const { buffer, byteOffset, length } = target;
  switch (datatype) {
    case "FP32":
      return encodeSingles(leaves, new Float32Array(buffer, byteOffset, length / 4));
    case "FP64":
      return encodeDoubles(leaves, new Float64Array(buffer, byteOffset, length / 8));
    case "INT64":
      return encodeLongs(leaves, new Int32Array(buffer, byteOffset, length / 4), LONG);
    case "UINT64":
      return encodeLongs(leaves, new Int32Array(buffer, byteOffset, length / 4), UNSIGNED_LONG);
    case "INT32":
      return encodeIntegers(leaves, new Int32Array(buffer, byteOffset, length / 4), {
        min: -(2 ** 31),
        max: 2 ** 31 - 1,
      });
    case "UINT32":
      return encodeIntegers(leaves, new Uint32Array(buffer, byteOffset, length / 4), { min: 0, max: 2 ** 32 - 1 });
    case "INT16":
      return encodeIntegers(leaves, new Int16Array(buffer, byteOffset, length / 2), {
        min: -(2 ** 15),
        max: 2 ** 15 - 1,
      });
    case "UINT16":
      return encodeIntegers(leaves, new Uint16Array(buffer, byteOffset, length / 2), { min: 0, max: 2 ** 16 - 1 });
    case "INT8":
      return encodeIntegers(leaves, new Int8Array(buffer, byteOffset, length), { min: -128, max: 127 });
    case "UINT8":
      return encodeIntegers(leaves, target, { min: 0, max: 255 });
    case "BOOL":
      return encodeBooleans(leaves, target);
    case "FP16":
    case "BF16":
    case "BYTES":
      throw new TypeError(`${datatype} has no JSON elements of fixed size`);
  }
}

function encodeSingles(leaves: Leaves, target: Float32Array): number {
  let at = 0;
  for (const leaf of leaves) {
    for (let i = 0; i < leaf.length; i++) {
      const value = toNumber(leaf[i]);
      if (!(value < SINGLE_OVERFLOW && value > -SINGLE_OVERFLOW)) return at;
      target[at++] = value;
    }
  }
  return NONE;
}

function encodeDoubles(leaves: Leaves, target: Float64Array): number {
  let at = 0;
  for (const leaf of leaves) {
    for (let i = 0; i < leaf.length; i++) {
      const value = toNumber(leaf[i]);
      if (!Number.isFinite(value)) return at;
      target[at++] = value;
    }
  }
  return NONE;
}

/** The number that an element is, NaN if it is none; exact integers are rounded as JSON.parse rounds them. */
function toNumber(value: unknown): number {
  if (typeof value === "number") return value;
  return typeof value === "bigint" ? Number(value) : Number.NaN;
}

type SmallIntegers = Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array;

function encodeIntegers(leaves: Leaves, target: SmallIntegers, range: { min: number; max: number }): number {
  const { min, max } = range;
  let at = 0;
  for (const leaf of leaves) {
    for (let i = 0; i < leaf.length; i++) {
      const value = leaf[i];
      if (typeof value !== "number" || !(value >= min && value <= max) || Math.trunc(value) !== value) return at + i;
    }
    target.set(leaf as readonly number[], at);
    at += leaf.length;
  }
  return NONE;
}

const LONG = { min: -(2n ** 63n), max: 2n ** 63n - 1n };
const UNSIGNED_LONG = { min: 0n, max: 2n ** 64n - 1n };

/** 64-bit integers as halves, low first: no BigInt is made for the safe ones. */
function encodeLongs(leaves: Leaves, target: Int32Array, range: { min: bigint; max: bigint }): number {
  const signed = range === LONG;
  let at = 0;
  for (const leaf of leaves) {
    for (let i = 0; i < leaf.length; i++) {
      const value = leaf[i];
      if (typeof value === "number" && Number.isInteger(value)) {
        if (!Number.isSafeInteger(value)) return Math.abs(value) > TWO_TO_64 ? at >> 1 : SEE_SOURCE;
        if (value < 0 && !signed) return at >> 1;
        const high = Math.floor(value / TWO_TO_32);
        target[at++] = value - high * TWO_TO_32;
        target[at++] = high;
      } else if (typeof value === "bigint" && value >= range.min && value <= range.max) {
        target[at++] = Number(BigInt.asIntN(32, value));
        target[at++] = Number(BigInt.asIntN(32, value >> 32n));
      } else return at >> 1;
    }
  }
  return NONE;
}

/** true and false, or 0 and 1 as some clients write them. */
function encodeBooleans(leaves: Leaves, target: Uint8Array): number {
  let at = 0;
  for (const leaf of leaves) {
    for (let i = 0; i < leaf.length; i++) {
      const value = leaf[i];
      if (value === true || value === 1) target[at++] = 1;
      else if (value === false || value === 0) target[at++] = 0;
      else return at;
    }
  }
  return NONE;
}

function encodeTexts(form: DataForm, leaves: Leaves): Uint8Array | Refusal {
  const elements: (string | Uint8Array)[] = [];
  for (const leaf of leaves) {
    for (const value of leaf) {
      const element = typeof value !== "string" && form.takesBase64 === true ? base64Of(value) : value;
      if (typeof element !== "string" && !Buffer.isBuffer(element)) return valueFault(form, leaves, elements.length);
      elements.push(element);
    }
  }
  return encodeStrings(elements);
}

/** The bytes of `{"b64": "…"}`, with padding and nothing else in it; undefined for anything else. */
function base64Of(value: unknown): Buffer | undefined {
  const text = typeof value === "object" && value !== null && "b64" in value ? value.b64 : undefined;
  const isBase64 = typeof text === "string" && text.length % 4 === 0 && /^[A-Za-z\d+/]*={0,2}$/.test(text);
  return isBase64 ? Buffer.from(text, "base64") : undefined;
}

/** What an element of each datatype is in JSON, for error messages. */
const ELEMENTS: Readonly<Record<Datatype, string>> = {
  BOOL: "true or false",
  INT8: "an integer from -128 to 127",
  INT16: "an integer from -32768 to 32767",
  INT32: "an integer from -2147483648 to 2147483647",
  INT64: "an integer from -2^63 to 2^63-1",
  UINT8: "an integer from 0 to 255",
  UINT16: "an integer from 0 to 65535",
  UINT32: "an integer from 0 to 4294967295",
  UINT64: "an integer from 0 to 2^64-1",
  FP16: "a number",
  BF16: "a number",
  FP32: "a number of at most 3.4028235e38",
  FP64: "a finite number",
  BYTES: "a string",
};

function valueFault(form: DataForm, leaves: Leaves, index: number): Refusal {
  let before = 0;
  let value: unknown;
  for (const leaf of leaves) {
    if (index < before + leaf.length) {
      value = leaf[index - before];
      break;
    }
    before += leaf.length;
  }
  const expected = `${form.datatype} needs ${ELEMENTS[form.datatype]}`;
  return new Refusal("invalid_value", `input ${quote(form.name)}: element ${index} is ${describe(value)}, ${expected}`);
}

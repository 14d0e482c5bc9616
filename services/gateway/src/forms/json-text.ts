import {
  bytesElementsEnd,
  DATATYPES,
  type Datatype,
  decodeStrings,
  elementCount,
  type Tensor,
} from "@millrace/protocol";
import { quote, Refusal, shapeText } from "../http/refusal.ts";

/**
 * Raw tensors to JSON text. The text is built by hand, because JSON.stringify turns NaN into null and cannot write integers
 * beyond 2^53; both would be wrong answers that look right.
 */

/** JSON of a number, on the average and about; and what writing a text costs beside its characters, counted in these. */
const NUMBER_BYTES = 16;
const TEXT_BYTES = 64;

/** About how many bytes of JSON a tensor becomes, which is what writing it costs. O(1). */
export function jsonBytesAbout({ datatype, shape, data }: Tensor): number {
  if (datatype === "BYTES") return data.byteLength + TEXT_BYTES * elementCount(shape);
  return NUMBER_BYTES * (data.byteLength / DATATYPES[datatype].bytes);
}

/**
 * The elements of a tensor as a flat JSON array, in row-major order. Refuses with `output_not_json` what JSON cannot carry:
 * NaN and infinities, BYTES that are not UTF-8, FP16 and BF16; with `internal` data that is not as long as the shape says.
 */
export function flatText(tensor: Tensor): string | Refusal {
  const elements = elementsOf(tensor);
  if (elements instanceof Refusal) return elements;
  return "texts" in elements ? `[${elements.texts.join(",")}]` : JSON.stringify(elements.values);
}

/**
 * The same as nested arrays, one level for each dimension of `shape` (none: the bare element), which must fit the data.
 * `asBase64`: elements of BYTES become `{"b64": "…"}`, whatever they hold.
 */
export function nestedText(
  tensor: Tensor,
  shape: readonly number[] = tensor.shape,
  asBase64 = false,
): string | Refusal {
  const elements = elementsOf(tensor, asBase64);
  if (elements instanceof Refusal) return elements;
  if (isHollow(shape)) return tooManyLists(tensor);
  return nest(elements, shape, { depth: 0, from: 0 });
}

/** The same, one text for each element of the first dimension, of which there must be one. */
export function nestedRows(tensor: Tensor, asBase64 = false): string[] | Refusal {
  const elements = elementsOf(tensor, asBase64);
  if (elements instanceof Refusal) return elements;
  if (isHollow(tensor.shape)) return tooManyLists(tensor);
  const [rows = 0, ...inner] = tensor.shape;
  const step = elementCount(inner);
  return Array.from({ length: rows }, (_, row) => nest(elements, inner, { depth: 0, from: row * step }));
}

/** Values that JSON.stringify writes right, or texts that are JSON already (which nothing must escape again). */
type Elements = { readonly values: readonly (number | boolean | string)[] } | { readonly texts: readonly string[] };

/** Empty lists that an answer may have: they come without data, and so without a bound of their own. */
const EMPTY_LISTS_MAX = 1_000_000;

/** Whether a shape without elements stands for more lists than any answer may have. */
function isHollow(shape: readonly number[]): boolean {
  const at = shape.indexOf(0);
  return at > 0 && elementCount(shape.slice(0, at)) > EMPTY_LISTS_MAX;
}

function tooManyLists({ name, shape }: Tensor): Refusal {
  const text = `output ${quote(name)} of shape ${shapeText(shape)} is more empty lists than an answer may have`;
  return new Refusal("answer_too_large", text);
}

/** The elements from one index up to another, with commas between. */
function elementsText(elements: Elements, from: number, to: number): string {
  if ("texts" in elements) return elements.texts.slice(from, to).join(",");
  return JSON.stringify(elements.values.slice(from, to)).slice(1, -1);
}

function nest(elements: Elements, shape: readonly number[], at: { depth: number; from: number }): string {
  const { depth, from } = at;
  const size = shape[depth];
  if (size === undefined) return elementsText(elements, from, from + 1);
  if (depth === shape.length - 1) return `[${elementsText(elements, from, from + size)}]`;
  const step = elementCount(shape.slice(depth + 1));
  let text = "[";
  for (let i = 0; i < size; i++) {
    text += (i === 0 ? "" : ",") + nest(elements, shape, { depth: depth + 1, from: from + i * step });
  }
  return `${text}]`;
}

function elementsOf(tensor: Tensor, asBase64 = false): Elements | Refusal {
  const { datatype, data } = tensor;
  const size = DATATYPES[datatype].bytes;
  const count = elementCount(tensor.shape);
  if (datatype === "BYTES") return asBase64 ? base64Of(tensor, count) : textsOf(tensor, count);
  if (data.byteLength !== count * size) {
    return new Refusal(
      "internal",
      `output ${quote(tensor.name)}: shape ${shapeText(tensor.shape)} needs ${count * size} bytes, has ${data.byteLength}`,
    );
  }
  return numbersOf(tensor, count);
}

function textsOf(tensor: Tensor, count: number): Elements | Refusal {
  const texts = decodeStrings(tensor.data, count);
  return texts === undefined ? notJson(tensor, "a string that is not UTF-8") : { values: texts };
}

function base64Of({ name, data }: Tensor, count: number): Elements | Refusal {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const texts: string[] = [];
  for (let i = 0, at = 0; i < count; i++) {
    const end = bytesElementsEnd(data, at, 1);
    if (end < 0) return new Refusal("internal", `output ${quote(name)}: its data ends before its elements do`);
    texts.push(`{"b64":"${bytes.toString("base64", at + 4, end)}"}`);
    at = end;
  }
  return { texts };
}

function numbersOf(tensor: Tensor, count: number): Elements | Refusal {
  const { datatype } = tensor;
  if (datatype === "FP32" || datatype === "FP64") return floatsOf(tensor, count);
  if (datatype === "INT64" || datatype === "UINT64") return longsOf(tensor, count);
  if (!DATATYPES[datatype].json) {
    return notJson(tensor, `${datatype} elements, which travel in binary form only`);
  }
  const view = viewOf(datatype, tensor.data, count);
  const values: (number | boolean)[] = [];
  if (datatype === "BOOL") for (let i = 0; i < count; i++) values.push(view[i] !== 0);
  else for (let i = 0; i < count; i++) values.push(view[i] ?? 0);
  return { values };
}

function floatsOf(tensor: Tensor, count: number): Elements | Refusal {
  const data = aligned(tensor.data, DATATYPES[tensor.datatype].bytes);
  const view =
    tensor.datatype === "FP32"
      ? new Float32Array(data.buffer, data.byteOffset, count)
      : new Float64Array(data.buffer, data.byteOffset, count);
  const values: number[] = [];
  let hasNegativeZero = false;
  for (let i = 0; i < count; i++) {
    const value = view[i] ?? 0;
    if (!Number.isFinite(value)) return notJson(tensor, `${value} at element ${i}`);
    if (Object.is(value, -0)) hasNegativeZero = true;
    values.push(value);
  }
  return hasNegativeZero ? { texts: values.map(floatText) } : { values };
}

/** As JSON.stringify has it, but for the sign of zero: "-0" would be an integer to many parsers, which has none. Triton writes "-0.0", too. */
function floatText(value: number): string {
  return Object.is(value, -0) ? "-0.0" : String(value);
}

/** 64-bit integers: numbers where all are safe, which is the common and fast case, else their exact digits. */
function longsOf(tensor: Tensor, count: number): Elements {
  const data = aligned(tensor.data, 8);
  const signed = tensor.datatype === "INT64";
  const view = signed
    ? new BigInt64Array(data.buffer, data.byteOffset, count)
    : new BigUint64Array(data.buffer, data.byteOffset, count);
  const halves = new Uint32Array(data.buffer, data.byteOffset, 2 * count);
  const values: number[] = [];
  for (let i = 0; i < count; i++) {
    const high = halves[2 * i + 1] ?? 0;
    const value = (signed ? high | 0 : high) * 2 ** 32 + (halves[2 * i] ?? 0);
    if (!Number.isSafeInteger(value)) return { texts: Array.from(view, String) };
    values.push(value);
  }
  return { values };
}

type SmallIntegers = Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array;

function viewOf(datatype: Datatype, bytes: Uint8Array, count: number): SmallIntegers {
  const { buffer, byteOffset } = aligned(bytes, DATATYPES[datatype].bytes);
  switch (datatype) {
    case "INT8":
      return new Int8Array(buffer, byteOffset, count);
    case "INT16":
      return new Int16Array(buffer, byteOffset, count);
    case "UINT16":
      return new Uint16Array(buffer, byteOffset, count);
    case "INT32":
      return new Int32Array(buffer, byteOffset, count);
    case "UINT32":
      return new Uint32Array(buffer, byteOffset, count);
    default:
      return new Uint8Array(buffer, byteOffset, count);
  }
}

/** The same bytes where a typed array of that element size can view them: messages come at any alignment. */
function aligned(bytes: Uint8Array, size: number): Uint8Array {
  return bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
}

function notJson(tensor: Tensor, what: string): Refusal {
  return new Refusal("output_not_json", `output ${quote(tensor.name)} holds ${what}; JSON cannot carry it`);
}

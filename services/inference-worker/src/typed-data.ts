import { bytesElementsEnd, type Datatype } from "@millrace/protocol";

/** Datatypes whose elements JavaScript's typed arrays hold as numbers. The runners run on little-endian machines only. */
const NUMBER_ARRAYS = {
  BOOL: Uint8Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  FP16: Float16Array,
  FP32: Float32Array,
  FP64: Float64Array,
} as const;

/**
 * The elements of a tensor as numbers, in a fresh array. 64-bit integers beyond 2^53 are rounded. A BYTES element counts as the
 * sum of its bytes.
 */
export function toNumbers(datatype: Datatype, data: ArrayBuffer): Float64Array {
  switch (datatype) {
    case "INT64":
      return Float64Array.from(new BigInt64Array(data), Number);
    case "UINT64":
      return Float64Array.from(new BigUint64Array(data), Number);
    case "BF16":
      return Float64Array.from(new Float32Array(Uint32Array.from(new Uint16Array(data), (bits) => bits << 16).buffer));
    case "BYTES":
      return Float64Array.from(splitBytes(data), (element) => element.reduce((sum, byte) => sum + byte, 0));
    default:
      return Float64Array.from(new NUMBER_ARRAYS[datatype](data));
  }
}

/**
 * Numbers as the elements of a tensor, in a fresh buffer. Integers are cut towards zero and wrap around, anything but 0 is true,
 * floats are rounded, BYTES elements are the numbers in decimal.
 */
export function fromNumbers(datatype: Datatype, values: Float64Array): ArrayBuffer {
  switch (datatype) {
    case "INT64":
      return BigInt64Array.from(values, toBigInt).buffer;
    case "UINT64":
      return BigUint64Array.from(values, toBigInt).buffer;
    case "BF16":
      return Uint16Array.from(new Uint32Array(Float32Array.from(values).buffer), toBfloat16).buffer;
    case "BOOL":
      return Uint8Array.from(values, (value) => (value === 0 ? 0 : 1)).buffer;
    case "BYTES":
      return joinBytes(Array.from(values, (value) => Buffer.from(String(value))));
    default:
      return NUMBER_ARRAYS[datatype].from(values).buffer;
  }
}

/** The BYTES elements of a well-formed tensor, without their lengths: views into the data. */
export function splitBytes(data: ArrayBuffer): Uint8Array[] {
  const bytes = new Uint8Array(data);
  const elements: Uint8Array[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = bytesElementsEnd(bytes, at, 1);
    if (end < 0) throw new RangeError("BYTES data ends inside an element");
    elements.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return elements;
}

/** BYTES elements with their lengths, in a fresh buffer. */
export function joinBytes(elements: readonly Uint8Array[]): ArrayBuffer {
  const data = new ArrayBuffer(elements.reduce((total, element) => total + 4 + element.length, 0));
  const view = new DataView(data);
  const bytes = new Uint8Array(data);
  let at = 0;
  for (const element of elements) {
    view.setUint32(at, element.length, true);
    bytes.set(element, at + 4);
    at += 4 + element.length;
  }
  return data;
}

function toBigInt(value: number): bigint {
  return Number.isFinite(value) ? BigInt(Math.trunc(value)) : 0n;
}

/** The upper half of a float's bits, rounded to the nearest, ties to even. */
function toBfloat16(bits: number): number {
  const isNan = (bits & 0x7fff_ffff) > 0x7f80_0000;
  return isNan ? 0x7fc0 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

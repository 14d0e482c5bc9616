/** A tensor as the check handles it: elements of any datatype in one list, row-major. */
export type CheckTensor = {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly values: readonly Element[];
};

/** 64-bit integers are bigints where a number would not be exact. */
export type Element = number | bigint | boolean | string;

/** An input or output as a model's metadata has it; −1 in `shape` is open. */
export type TensorMetadata = { readonly name: string; readonly datatype: string; readonly shape: readonly number[] };

type Layout = {
  readonly bytes: number;
  readonly write: (view: DataView, at: number, value: Element) => void;
  readonly read: (view: DataView, at: number) => Element;
};

/** How elements of fixed size lie in a body: little-endian. */
const LAYOUTS: Readonly<Record<string, Layout>> = {
  BOOL: { bytes: 1, write: (v, at, x) => v.setUint8(at, Number(x)), read: (v, at) => v.getUint8(at) !== 0 },
  INT8: { bytes: 1, write: (v, at, x) => v.setInt8(at, Number(x)), read: (v, at) => v.getInt8(at) },
  INT16: { bytes: 2, write: (v, at, x) => v.setInt16(at, Number(x), true), read: (v, at) => v.getInt16(at, true) },
  INT32: { bytes: 4, write: (v, at, x) => v.setInt32(at, Number(x), true), read: (v, at) => v.getInt32(at, true) },
  INT64: {
    bytes: 8,
    write: (v, at, x) => v.setBigInt64(at, BigInt(x), true),
    read: (v, at) => v.getBigInt64(at, true),
  },
  UINT8: { bytes: 1, write: (v, at, x) => v.setUint8(at, Number(x)), read: (v, at) => v.getUint8(at) },
  UINT16: { bytes: 2, write: (v, at, x) => v.setUint16(at, Number(x), true), read: (v, at) => v.getUint16(at, true) },
  UINT32: { bytes: 4, write: (v, at, x) => v.setUint32(at, Number(x), true), read: (v, at) => v.getUint32(at, true) },
  UINT64: {
    bytes: 8,
    write: (v, at, x) => v.setBigUint64(at, BigInt(x), true),
    read: (v, at) => v.getBigUint64(at, true),
  },
  FP16: { bytes: 2, write: (v, at, x) => v.setFloat16(at, Number(x), true), read: (v, at) => v.getFloat16(at, true) },
  BF16: { bytes: 2, write: writeBfloat16, read: readBfloat16 },
  FP32: { bytes: 4, write: (v, at, x) => v.setFloat32(at, Number(x), true), read: (v, at) => v.getFloat32(at, true) },
  FP64: { bytes: 8, write: (v, at, x) => v.setFloat64(at, Number(x), true), read: (v, at) => v.getFloat64(at, true) },
};

/** The upper half of the FP32 bits; what is made up here has no more of them. */
function writeBfloat16(view: DataView, at: number, value: Element): void {
  view.setUint16(at, new Uint32Array(Float32Array.of(Number(value)).buffer)[0]! >>> 16, true);
}

function readBfloat16(view: DataView, at: number): Element {
  return new Float32Array(Uint32Array.of(view.getUint16(at, true) << 16).buffer)[0]!;
}

export function isKnownDatatype(datatype: string): boolean {
  return datatype === "BYTES" || Object.hasOwn(LAYOUTS, datatype);
}

/** Whether the protocol has a form in JSON for it. */
export function fitsJson(datatype: string): boolean {
  return datatype !== "FP16" && datatype !== "BF16";
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** The tensor as bytes of a body. */
export function bytesOf({ datatype, values }: CheckTensor): Buffer {
  const layout = LAYOUTS[datatype];
  if (layout === undefined) {
    return Buffer.concat(
      values.flatMap((value) => {
        const text = Buffer.from(String(value));
        const length = Buffer.alloc(4);
        length.writeUInt32LE(text.length);
        return [length, text];
      }),
    );
  }
  const bytes = Buffer.alloc(values.length * layout.bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const [at, value] of values.entries()) layout.write(view, at * layout.bytes, value);
  return bytes;
}

/** The elements in bytes of a body; undefined where they are not `count`. */
export function elementsOf(datatype: string, bytes: Buffer, count: number): Element[] | undefined {
  const layout = LAYOUTS[datatype];
  if (layout !== undefined) {
    if (bytes.length !== count * layout.bytes) return undefined;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return Array.from({ length: count }, (_, at) => layout.read(view, at * layout.bytes));
  }
  const values: string[] = [];
  let end = 0;
  while (end + 4 <= bytes.length) {
    const from = end + 4;
    end = from + bytes.readUInt32LE(end);
    if (end > bytes.length) return undefined;
    values.push(bytes.toString("utf8", from, end));
  }
  return end === bytes.length && values.length === count ? values : undefined;
}

/** The JSON text of an element; integers of 64 bits in full. */
export function jsonElement(value: Element): string {
  return typeof value === "bigint" ? String(value) : JSON.stringify(value);
}

/** Whether two answers agree: exactly, floats but for the rounding of other batches and forms (0.1 % and 10⁻⁶). */
export function isSame(one: Element, other: Element): boolean {
  if (typeof one === "bigint" || typeof other === "bigint") return String(one) === String(other);
  if (typeof one !== "number" || typeof other !== "number") return one === other;
  if (Object.is(one, other) || one === other) return true;
  return Math.abs(one - other) <= 1e-6 + 1e-3 * Math.max(Math.abs(one), Math.abs(other));
}

/**
 * Inputs for a model of which only the metadata is known: small numbers that differ from row to row and are allowed as indexes (0 and
 * 1 in integers), short texts. Open dimensions become `rows` where they come first, and else `size`; `shapes` has the sizes after the first by name.
 */
export function makeUpInputs(
  inputs: readonly TensorMetadata[],
  sizes: { readonly rows: number; readonly size: number; readonly shapes: ReadonlyMap<string, readonly number[]> },
): CheckTensor[] {
  return inputs.map(({ name, datatype, shape }) => {
    const wanted = sizes.shapes.get(name);
    const full = shape.map((size, at) => {
      if (size >= 0) return size;
      if (at === 0) return sizes.rows;
      return wanted?.[at - 1] ?? sizes.size;
    });
    const rowElements = elementCount(full.slice(1));
    const values = Array.from({ length: elementCount(full) }, (_, at) => {
      const row = full.length === 0 ? 0 : Math.floor(at / rowElements);
      return madeUpElement(datatype, at + 3 * row);
    });
    return { name, datatype, shape: full, values };
  });
}

function madeUpElement(datatype: string, at: number): Element {
  if (datatype === "BOOL") return at % 2 === 1;
  if (datatype === "BYTES") return ["a", "word", "größer", ""][at % 4]!;
  // Exact in 8 bits of mantissa.
  if (/^B?FP?\d/.test(datatype)) return (at % 5) / 4;
  return at % 2;
}

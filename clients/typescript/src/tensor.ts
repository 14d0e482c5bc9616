/** The elements of each datatype. BOOL is 0 and 1; FP16 and BF16 are their bits; BYTES go as texts (in UTF-8) or bytes. */
export type DataOf = {
  readonly BOOL: Uint8Array;
  readonly INT8: Int8Array;
  readonly INT16: Int16Array;
  readonly INT32: Int32Array;
  readonly INT64: BigInt64Array;
  readonly UINT8: Uint8Array;
  readonly UINT16: Uint16Array;
  readonly UINT32: Uint32Array;
  readonly UINT64: BigUint64Array;
  readonly FP16: Uint16Array;
  readonly BF16: Uint16Array;
  readonly FP32: Float32Array;
  readonly FP64: Float64Array;
  readonly BYTES: readonly (string | Uint8Array)[];
};

export type Datatype = keyof DataOf;

/** A tensor of one datatype: as many elements as the product of its shape, row-major. */
export type TensorOf<D extends Datatype> = {
  readonly datatype: D;
  readonly shape: readonly number[];
  readonly data: DataOf[D];
};

/** A tensor of any datatype; `datatype` tells which `data` it has. */
export type Tensor = { [D in Datatype]: TensorOf<D> }[Datatype];

/** How the elements of each datatype but BYTES lie in memory. */
export const ARRAYS = {
  BOOL: Uint8Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  FP16: Uint16Array,
  BF16: Uint16Array,
  FP32: Float32Array,
  FP64: Float64Array,
} as const;

export function isDatatype(name: unknown): name is Datatype {
  return name === "BYTES" || (typeof name === "string" && Object.hasOwn(ARRAYS, name));
}

/** The product of a shape; 1 for no dimensions. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/**
 * The elements of a BYTES tensor as texts.
 *
 * @throws {TypeError} for bytes that are not UTF-8, and for another datatype.
 */
export function textsOf(tensor: Tensor): string[] {
  if (tensor.datatype !== "BYTES") throw new TypeError(`${tensor.datatype} has no texts`);
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  return tensor.data.map((item) => (typeof item === "string" ? item : decoder.decode(item)));
}

import { bytesElementsEnd, type Datatype, elementCount, type Tensor, type TensorSpec } from "@millrace/protocol";
import type { GivenTensor, Tensor as HookTensor, Tensors } from "@millrace/hooks";
import { encodeData } from "../forms/json-data.ts";
import { quote, Refusal, shapeText } from "../http/refusal.ts";

/**
 * Tensors as they travel to tensors as hooks see them, and back. Pure. What a hook looks at is copied both ways: nobody changes what
 * another one holds. What it hands on as it was is not.
 */

type FixedType = Exclude<Datatype, "BYTES">;

const ARRAYS = {
  BOOL: Uint8Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  FP16: Float16Array,
  BF16: Uint16Array,
  FP32: Float32Array,
  FP64: Float64Array,
} as const satisfies Record<FixedType, unknown>;

/**
 * A tensor as a hook gets it. The data, which must fit the shape, are copied when they are first looked at: memory of its own costs two
 * microseconds, however little it is.
 */
class HeldTensor {
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly #source: Tensor;
  #data: unknown;

  constructor(source: Tensor) {
    this.datatype = source.datatype;
    this.shape = [...source.shape];
    this.#source = source;
    Object.defineProperty(this, "data", HeldTensor.#DATA);
  }

  /** A property of each tensor's own, so that `{ ...tensor }` has it; one getter for all, so that they stay of one kind to V8. */
  static readonly #DATA: PropertyDescriptor & ThisType<HeldTensor> = {
    enumerable: true,
    get() {
      return (this.#data ??= copyOf(this.#source));
    },
    set(data: unknown) {
      this.#data = data;
    },
  };

  /** The bytes of what a hook hands on as it was; undefined for all else. */
  static untouched(given: object, { datatype }: TensorSpec): Uint8Array | undefined {
    if (!(#source in given) || given.#data !== undefined || given.datatype !== datatype) return undefined;
    const { shape, data } = given.#source;
    return elementCount(given.shape) === elementCount(shape) ? data : undefined;
  }
}

/** Tensors by name, for a hook. O(tensors). */
export function toHookTensors(tensors: readonly Tensor[]): Tensors {
  const byName: Record<string, HookTensor> = Object.create(null) as Record<string, HookTensor>;
  for (const tensor of tensors) byName[tensor.name] = new HeldTensor(tensor) as unknown as HookTensor;
  return byName;
}

function copyOf({ datatype, shape, data }: Tensor): HookTensor["data"] {
  // A buffer of its own: it may start at any byte of what came in, and a thread takes the whole of it.
  const own = new ArrayBuffer(data.byteLength);
  new Uint8Array(own).set(data);
  return datatype === "BYTES" ? toElements(Buffer.from(own), elementCount(shape)) : new ARRAYS[datatype](own);
}

function toElements(data: Buffer, count: number): Buffer[] {
  const elements: Buffer[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const end = bytesElementsEnd(data, at, 1);
    elements.push(data.subarray(at + 4, end));
    at = end;
  }
  return elements;
}

/**
 * The tensors that a hook has given, in the order of the specs, each of them there and none besides; or what is wrong with them, for
 * the hook's author. Dimensions that the spec fixes must agree. Never throws, whatever it is given.
 */
export function fromHookTensors(specs: readonly TensorSpec[], given: unknown): readonly Tensor[] | string {
  if (typeof given !== "object" || given === null) return "it gave no object of tensors";
  const extra = Object.keys(given).find((name) => !specs.some((spec) => spec.name === name));
  if (extra !== undefined) return `it gave ${quote(extra)}, which is not asked for`;
  const tensors: Tensor[] = [];
  for (const spec of specs) {
    if (!Object.hasOwn(given, spec.name)) return `it gave no ${quote(spec.name)}`;
    const tensor = fromHookTensor(spec, (given as Readonly<Record<string, unknown>>)[spec.name]);
    if (typeof tensor === "string") return `${quote(spec.name)}: ${tensor}`;
    tensors.push(tensor);
  }
  return tensors;
}

function fromHookTensor(spec: TensorSpec, given: unknown): Tensor | string {
  const { name, datatype, shape: expected } = spec;
  if (typeof given !== "object" || given === null) return "it is no tensor {shape, data}";
  const { shape } = given as Partial<GivenTensor>;
  const isShape = Array.isArray(shape) && shape.every((size) => Number.isSafeInteger(size) && size >= 0);
  if (!isShape) return "its shape must be an array of sizes (integers, 0 or more)";
  const fits = shape.length === expected.length && shape.every((size, i) => expected[i] === -1 || expected[i] === size);
  if (!fits) return `its shape is ${shapeText(shape)}, expected is ${shapeText(expected)}`;
  const untouched = HeldTensor.untouched(given, spec);
  if (untouched !== undefined) return { name, datatype, shape: [...shape], data: untouched };
  const { data } = given as Partial<GivenTensor>;
  const bytes = datatype === "BYTES" ? encodeBytes(shape, data) : encodeFixed(datatype, shape, data);
  return typeof bytes === "string" ? bytes : { name, datatype, shape: [...shape], data: bytes };
}

function encodeFixed(datatype: FixedType, shape: readonly number[], data: unknown): Uint8Array | string {
  const array = ARRAYS[datatype];
  if (data instanceof array) {
    if (data.length !== elementCount(shape)) return `it has ${data.length} elements, its shape is ${shapeText(shape)}`;
    if (datatype === "BOOL" && (data as Uint8Array).some((value) => value > 1)) return "a BOOL is neither 0 nor 1";
    return Buffer.from(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  if (!Array.isArray(data) || datatype === "FP16" || datatype === "BF16") {
    const orArray = datatype === "FP16" || datatype === "BF16" ? "" : " or an array";
    return `its data must be a ${array.name}${orArray}, as it is ${datatype}`;
  }
  const bytes = encodeData({ name: "", datatype, shape }, data);
  if (bytes instanceof Refusal) {
    // Refusals of values quote them, and this goes to a log.
    return bytes.code === "invalid_shape" ? "its data do not fit its shape" : `an element does not fit ${datatype}`;
  }
  return typeof bytes === "symbol" ? "an integer beyond 2^53 must be a bigint" : bytes;
}

function encodeBytes(shape: readonly number[], data: unknown): Uint8Array | string {
  if (!Array.isArray(data)) return "its data must be an array of strings or bytes, as it is BYTES";
  const elements = data.flat(shape.length) as readonly unknown[];
  if (elements.length !== elementCount(shape)) {
    return `it has ${elements.length} elements, its shape is ${shapeText(shape)}`;
  }
  const parts: Uint8Array[] = [];
  for (const element of elements) {
    if (typeof element !== "string" && !(element instanceof Uint8Array)) return "an element is neither text nor bytes";
    const bytes = typeof element === "string" ? Buffer.from(element) : element;
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.byteLength);
    parts.push(length, bytes);
  }
  return Buffer.concat(parts);
}

import { DATATYPES, type Datatype, elementCount, FREE, type TensorSpec } from "@millrace/protocol";
import type { BatchTensor } from "./runner.ts";
import { fromNumbers, joinBytes, toNumbers } from "./typed-data.ts";

/** Inputs made up for warm-up runs: `size` stands for every open dimension but the first. */
export type SampleSize = { readonly rows: number; readonly size: number };

/** Inputs of zeros and empty strings: valid indices, valid masks, valid texts. */
export function zeroInputs(specs: readonly TensorSpec[], sample: SampleSize): BatchTensor[] {
  return specs.map(({ name, datatype, shape }) => {
    const concrete = concreteShape(shape, sample);
    // An empty string is four zero bytes.
    return {
      name,
      datatype,
      shape: concrete,
      data: new ArrayBuffer(elementCount(concrete) * (DATATYPES[datatype].bytes || 4)),
    };
  });
}

/** Bytes of `zeroInputs`, without making them. */
export function sampleBytes(specs: readonly TensorSpec[], sample: SampleSize): number {
  let bytes = 0;
  for (const { datatype, shape } of specs) {
    bytes += elementCount(concreteShape(shape, sample)) * (DATATYPES[datatype].bytes || 4);
  }
  return bytes;
}

/**
 * One row of values that look random and are the same every time; other seeds give other rows. Floats are between 0 and
 * 1 + 2 · seed, so that a scale over the batch shows; wide integers are 0 or 1 as they may be indices; bytes are up to 100;
 * strings are single letters.
 */
export function variedRow(specs: readonly TensorSpec[], size: number, seed: number): BatchTensor[] {
  let state = seed * 7919 + 1;
  const next = () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
  return specs.map(({ name, datatype, shape }) => {
    const concrete = concreteShape(shape, { rows: 1, size });
    const values = new Float64Array(elementCount(concrete));
    for (let k = 0; k < values.length; k++) values[k] = variedValue(datatype, next(), { position: k, seed });
    return {
      name,
      datatype,
      shape: concrete,
      data: datatype === "BYTES" ? letters(values) : fromNumbers(datatype, values),
    };
  });
}

/** Two single rows as one batch of two. */
export function stackRows(first: readonly BatchTensor[], second: readonly BatchTensor[]): BatchTensor[] {
  return first.map((tensor, i) => {
    const other = second[i]!;
    const data = new Uint8Array(tensor.data.byteLength + other.data.byteLength);
    data.set(new Uint8Array(tensor.data));
    data.set(new Uint8Array(other.data), tensor.data.byteLength);
    return { ...tensor, shape: [2, ...tensor.shape.slice(1)], data: data.buffer };
  });
}

/**
 * Whether two outputs are equal but for the rounding of another order of additions: exactly for integers, booleans and strings;
 * for floats within a tolerance of the value and of the largest value. NaN equals NaN.
 */
export function isNearlyEqual(datatype: Datatype, a: ArrayBuffer, b: ArrayBuffer): boolean {
  const tolerance = TOLERANCES[datatype];
  if (tolerance === undefined) return Buffer.compare(new Uint8Array(a), new Uint8Array(b)) === 0;
  if (a.byteLength !== b.byteLength) return false;
  const left = toNumbers(datatype, a);
  const right = toNumbers(datatype, b);
  let largest = 0;
  for (const value of left) if (Number.isFinite(value)) largest = Math.max(largest, Math.abs(value));
  const absolute = tolerance.absolute * largest + NOISE;
  for (let i = 0; i < left.length; i++) {
    const x = left[i]!;
    const y = right[i]!;
    if (Object.is(x, y) || x === y) continue;
    if (!(Math.abs(x - y) <= absolute + tolerance.relative * Math.abs(x))) return false;
  }
  return true;
}

/** `absolute` is a share of the tensor's largest value: sums that cancel keep the error of their terms. */
const TOLERANCES: Partial<Record<Datatype, { relative: number; absolute: number }>> = {
  BF16: { relative: 5e-2, absolute: 5e-2 },
  FP16: { relative: 1e-2, absolute: 1e-2 },
  FP32: { relative: 1e-3, absolute: 1e-4 },
  FP64: { relative: 1e-6, absolute: 1e-8 },
};

/** Differences below this are noise, however small the values. */
const NOISE = 1e-7;

function concreteShape(shape: readonly number[], { rows, size }: SampleSize): number[] {
  return shape.map((given, dimension) => (given !== FREE ? given : dimension === 0 ? rows : size));
}

type Spot = { readonly position: number; readonly seed: number };

function variedValue(datatype: Datatype, random: number, { position, seed }: Spot): number {
  switch (datatype) {
    case "BF16":
    case "FP16":
    case "FP32":
    case "FP64":
      return random * (1 + 2 * seed);
    case "INT8":
    case "UINT8":
      return Math.floor(random * 100);
    case "BYTES":
      return 97 + Math.floor(random * 26);
    default:
      return (position + seed) & 1;
  }
}

function letters(codes: Float64Array): ArrayBuffer {
  return joinBytes(Array.from(codes, (code) => Uint8Array.of(code)));
}

import { DATATYPES, elementCount, encodeStrings, type Tensor } from "@millrace/protocol";
import { quote, Refusal } from "../http/refusal.ts";

/**
 * The classification extension: an output as its highest values, each as "value:index". Pure. There are no labels to add.
 * Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_classification.md; text of the values as
 * in Triton (`std::to_string`: six decimals for FP32 and FP64).
 */

/**
 * The `classes` highest elements of each row (of the whole tensor where it has no batch dimension), the highest first, equal ones
 * by their index: BYTES of shape [rows, min(classes, elements of a row)] (without `rows` where there is no batch dimension). NaN
 * counts as the lowest. Refuses BYTES, FP16 and BF16 with `unsupported`, and with `internal` data that does not fit the shape.
 */
export function classify(tensor: Tensor, classes: number, hasBatch: boolean): Tensor | Refusal {
  const { name, datatype, shape, data } = tensor;
  if (datatype === "BYTES" || datatype === "FP16" || datatype === "BF16") {
    return new Refusal("unsupported", `output ${quote(name)}: ${datatype} cannot be classified`);
  }
  const rows = hasBatch ? (shape[0] ?? 1) : 1;
  const perRow = elementCount(hasBatch ? shape.slice(1) : shape);
  if (data.byteLength !== rows * perRow * DATATYPES[datatype].bytes) {
    return new Refusal("internal", `output ${quote(name)}: its data does not fit its shape`);
  }
  const values = valuesOf(tensor);
  const isFloat = datatype === "FP32" || datatype === "FP64";
  const count = Math.min(classes, perRow);
  const texts: string[] = [];
  for (let row = 0; row < rows; row++) {
    for (const index of highest(values, row * perRow, { perRow, count })) {
      const value = values[row * perRow + index]!;
      texts.push(`${isFloat ? floatText(Number(value)) : value}:${index}`);
    }
  }
  return { name, datatype: "BYTES", shape: hasBatch ? [rows, count] : [count], data: encodeStrings(texts) };
}

type Values = ArrayLike<number> | ArrayLike<bigint>;

function valuesOf({ datatype, data }: Tensor): Values {
  // A copy: the data may stand at any alignment.
  const { buffer } = new Uint8Array(data);
  switch (datatype) {
    case "FP32":
      return new Float32Array(buffer);
    case "FP64":
      return new Float64Array(buffer);
    case "INT8":
      return new Int8Array(buffer);
    case "INT16":
      return new Int16Array(buffer);
    case "UINT16":
      return new Uint16Array(buffer);
    case "INT32":
      return new Int32Array(buffer);
    case "UINT32":
      return new Uint32Array(buffer);
    case "INT64":
      return new BigInt64Array(buffer);
    case "UINT64":
      return new BigUint64Array(buffer);
    default:
      return new Uint8Array(buffer);
  }
}

/** With more classes than these all elements are sorted. */
const INSERTED_MAX = 32;

/** Positions of the highest elements of a row. O(n · count) for few of them, and mostly O(n); O(n log n) for many. */
function highest(values: Values, from: number, { perRow, count }: { perRow: number; count: number }): number[] {
  const rank = (index: number): number | bigint => {
    const value = values[from + index]!;
    return Number.isNaN(value) ? -Infinity : value;
  };
  if (count > INSERTED_MAX) return sorted(rank, perRow).slice(0, count);
  const best: number[] = [];
  const ranks: (number | bigint)[] = [];
  for (let index = 0; index < perRow; index++) {
    const own = rank(index);
    const isFull = best.length === count;
    // Of equal ones the first stays before the others.
    if (isFull && !(own > ranks[count - 1]!)) continue;
    let at = isFull ? count - 1 : best.length;
    for (; at > 0 && own > ranks[at - 1]!; at--) {
      ranks[at] = ranks[at - 1]!;
      best[at] = best[at - 1]!;
    }
    ranks[at] = own;
    best[at] = index;
  }
  return best;
}

function sorted(rank: (index: number) => number | bigint, perRow: number): number[] {
  const order = Array.from({ length: perRow }, (_, index) => index);
  return order.sort((a, b) => {
    const x = rank(a);
    const y = rank(b);
    return x === y ? a - b : x > y ? -1 : 1;
  });
}

/** From here on toFixed writes an exponent. */
const FIXED_MAX = 1e21;

/** As C's "%f". */
function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  return Math.abs(value) < FIXED_MAX ? value.toFixed(6) : `${BigInt(value)}.000000`;
}

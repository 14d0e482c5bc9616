import { bytesElementsEnd, DATATYPES, elementCount, type Tensor } from "@millrace/protocol";
import type { InferenceRequest } from "./inference.ts";
import { packInputs } from "../forms/input-set.ts";

/**
 * Cuts a request of a model that batches, all of whose rows cost the same, into requests of at most `rowsMax` rows, in the order of its rows: as many full ones
 * as there are, and the rest. A single input is cut without a copy; of several each part gets one. O(elements) for BYTES.
 */
export function partsOf(request: InferenceRequest, rowsMax: number): InferenceRequest[] {
  const parts: InferenceRequest[] = [];
  const cuts = request.inputs.map((input) => new RowCutter(input));
  for (let from = 0; from < request.rows; from += rowsMax) {
    const rows = Math.min(rowsMax, request.rows - from);
    const cost = (request.cost / request.rows) * rows;
    parts.push({ ...request, rows, cost, ...packInputs(cuts.map((cut) => cut.next(rows))) });
  }
  return parts;
}

/**
 * The outputs of all parts, each put together from `outputs[part]` in the order of the parts: one copy of everything. Undefined
 * where the parts do not have the same outputs of the same type and inner shape, one row for each of `rows[part]`.
 */
export function joinOutputs(
  outputs: readonly (readonly Tensor[])[],
  rows: readonly number[],
): readonly Tensor[] | undefined {
  const total = rows.reduce((sum, count) => sum + count, 0);
  const joined: Tensor[] = [];
  for (const { name, datatype, shape } of outputs[0]!) {
    const [, ...inner] = shape;
    const pieces: Uint8Array[] = [];
    for (const [part, tensors] of outputs.entries()) {
      const piece = tensors.find((tensor) => tensor.name === name);
      const isAlike = piece?.datatype === datatype && piece.shape.join() === [rows[part], ...inner].join();
      if (!isAlike || tensors.length !== outputs[0]!.length) return undefined;
      pieces.push(piece.data);
    }
    joined.push({ name, datatype, shape: [total, ...inner], data: Buffer.concat(pieces) });
  }
  return joined;
}

/** Takes a tensor's rows off, from its first on. */
class RowCutter {
  readonly #tensor: Tensor;
  readonly #rowElements: number;
  #at = 0;

  constructor(tensor: Tensor) {
    this.#tensor = tensor;
    this.#rowElements = elementCount(tensor.shape.slice(1));
  }

  next(rows: number): Tensor {
    const { name, datatype, shape, data } = this.#tensor;
    const size = DATATYPES[datatype].bytes;
    const elements = rows * this.#rowElements;
    const from = this.#at;
    this.#at = size > 0 ? from + elements * size : bytesElementsEnd(data, from, elements);
    return { name, datatype, shape: [rows, ...shape.slice(1)], data: data.subarray(from, this.#at) };
  }
}

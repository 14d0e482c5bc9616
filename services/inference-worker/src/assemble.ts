import {
  bytesElementsEnd,
  DATATYPES,
  decodeStrings,
  elementCount,
  type ErrorCode,
  FREE,
  isWellSized,
  type ModelDescription,
  type TensorHeader,
  type TensorSpec,
} from "@millrace/protocol";
import type { BatchTensor } from "./runner.ts";

/** Sizes above this cannot be real, and products of them would not be exact. */
const SIZE_MAX = 2 ** 32 - 1;

/** One request of a batch: its rows and its tensors in the model's input order, data concatenated without gaps. */
export type AssembleItem = {
  readonly rows: number;
  readonly tensors: readonly TensorHeader[];
  /** Borrowed; only read. */
  readonly payload: Uint8Array;
};

/** Why one request cannot take part in its batch. */
export type ItemFault = { readonly code: ErrorCode; readonly message: string };

/** A batch that is ready to run. */
export type Assembled = {
  /** Rows of all items that take part; 0 where none does, and there is nothing to run. */
  readonly rows: number;
  /** The model's inputs in its order, in fresh buffers of their own; empty where no item takes part. */
  readonly inputs: readonly BatchTensor[];
  /** Which items take part, by their position, in the order of their rows. */
  readonly included: readonly number[];
  /** One entry an item: why it does not take part, or undefined. */
  readonly faults: readonly (ItemFault | undefined)[];
};

/** The part of a batch's outputs that answers one request. */
export type ItemOutputs = {
  readonly tensors: readonly TensorHeader[];
  /** Data of the tensors, concatenated. Often a view into the batch's outputs: to be sent, not to be changed or transferred. */
  readonly payload: Uint8Array;
  /** Set, and the rest empty, where an output is asked for that the model does not have. */
  readonly fault: ItemFault | undefined;
};

/**
 * Puts the requests of a batch together, row behind row. Pure and synchronous; copies every payload once, O(bytes), and never
 * throws, whatever the items hold: what does not fit the model stays out and is told why, and does no harm to the others.
 *
 * A model that batches takes the items whose open inner dimensions are those of the first good one, up to its largest batch. A
 * model that does not takes one item, as it is.
 */
export function assemble(model: ModelDescription, items: readonly AssembleItem[]): Assembled {
  const included: number[] = [];
  const faults: (ItemFault | undefined)[] = [];
  let rows = 0;
  let first: AssembleItem | undefined;
  for (const [index, item] of items.entries()) {
    const fault = checkItem(model, item) ?? checkFit(model, item, { first, rows });
    faults.push(fault);
    if (fault !== undefined) continue;
    first ??= item;
    rows += item.rows;
    included.push(index);
  }
  if (first === undefined) return { rows: 0, inputs: [], included, faults };
  const good = included.map((index) => items[index]!);
  return { rows, inputs: concatenate(model, good, rows), included, faults };
}

/**
 * Cuts the outputs of a run at the rows of its items, in their order. `wantedOutputs` names the outputs that each item asks for,
 * in the order in which it gets them; an empty list means all.
 *
 * A single item gets everything, whatever its shape (models that do not batch). For several, the first dimension of every output
 * must be the sum of `rowsPerItem`, which HostedModel has checked. An item that asks for one output gets a view of it, without a
 * copy; several outputs are copied together. Cutting BYTES walks over the elements.
 */
export function split(
  outputs: readonly BatchTensor[],
  rowsPerItem: readonly number[],
  wantedOutputs: readonly (readonly string[])[],
): ItemOutputs[] {
  const pieces = outputs.map((output) => cut(output, rowsPerItem));
  const positions = new Map(outputs.map(({ name }, position) => [name, position]));
  return rowsPerItem.map((_, index) => {
    const wanted = wantedOutputs[index] ?? [];
    const own: Piece[] = [];
    for (const name of wanted.length === 0 ? positions.keys() : wanted) {
      const piece = pieces[positions.get(name) ?? -1]?.[index];
      if (piece === undefined) return withoutOutputs(`the model has no output "${name}"`);
      own.push(piece);
    }
    return { tensors: own.map(({ header }) => header), payload: join(own), fault: undefined };
  });
}

function checkItem(model: ModelDescription, item: AssembleItem): ItemFault | undefined {
  const { inputs, batching, maxBatchSize } = model;
  const { rows, tensors, payload } = item;
  if (!Number.isSafeInteger(rows) || rows < 1)
    return { code: "invalid_shape", message: "a request needs at least one row" };
  if (rows > (batching ? maxBatchSize : 1)) {
    return { code: "too_many_rows", message: `${rows} rows are more than the ${maxBatchSize} that the model takes` };
  }
  if (tensors.length !== inputs.length) {
    return { code: "invalid_input", message: `${tensors.length} inputs for a model of ${inputs.length}` };
  }
  let offset = 0;
  for (const [position, spec] of inputs.entries()) {
    const tensor = tensors[position]!;
    const fault = checkHeader(spec, tensor, batching ? rows : undefined);
    if (fault !== undefined) return fault;
    const end = offset + tensor.bytes;
    if (!Number.isSafeInteger(tensor.bytes) || tensor.bytes < 0 || end > payload.byteLength) {
      return { code: "invalid_shape", message: `input "${spec.name}": the payload ends before its data does` };
    }
    const dataFault = checkData(model, tensor, payload.subarray(offset, end));
    if (dataFault !== undefined) return dataFault;
    offset = end;
  }
  if (offset === payload.byteLength) return undefined;
  return { code: "invalid_shape", message: `${payload.byteLength - offset} bytes behind the last input` };
}

/** `rows` is undefined where the first dimension is not the batch. */
function checkHeader(spec: TensorSpec, tensor: TensorHeader, rows: number | undefined): ItemFault | undefined {
  const { name, datatype, shape } = spec;
  const wrong = (code: ErrorCode, what: string) => ({ code, message: `input "${name}": ${what}` });
  if (tensor.name !== name) return wrong("invalid_input", `"${tensor.name}" stands in its place`);
  if (tensor.datatype !== datatype) return wrong("invalid_datatype", `${tensor.datatype} where ${datatype} is needed`);
  if (tensor.shape.length !== shape.length) {
    return wrong("invalid_shape", `${tensor.shape.length} dimensions where ${shape.length} are needed`);
  }
  for (const [dimension, size] of tensor.shape.entries()) {
    const needed = dimension === 0 && rows !== undefined ? rows : shape[dimension]!;
    const isSize = Number.isSafeInteger(size) && size >= 0 && size <= SIZE_MAX;
    if (!isSize || (needed !== FREE && size !== needed)) {
      const asked = rows === undefined ? shape : [rows, ...shape.slice(1)];
      return wrong("invalid_shape", `[${tensor.shape.join(", ")}] where [${asked.join(", ")}] is needed`);
    }
  }
  return undefined;
}

function checkData(model: ModelDescription, tensor: TensorHeader, data: Uint8Array): ItemFault | undefined {
  const { name, datatype, shape } = tensor;
  if (!isWellSized(datatype, shape, data)) {
    return {
      code: "invalid_shape",
      message: `input "${name}": ${data.byteLength} bytes do not fill [${shape.join(", ")}]`,
    };
  }
  // A byte other than 0 and 1 is no bool to compiled code: a model may well compute that not-2 is 3.
  if (datatype === "BOOL" && data.some((byte) => byte > 1)) {
    return { code: "invalid_value", message: `input "${name}": a BOOL is neither 0 nor 1` };
  }
  if (datatype === "BYTES" && model.platform === "onnxruntime_onnx" && !areTexts(data, elementCount(shape))) {
    return { code: "invalid_value", message: `input "${name}": the model takes UTF-8 texts without zero bytes` };
  }
  return undefined;
}

/** Whether onnxruntime can hold the elements: it replaces what is not UTF-8, and cuts a text at a zero byte. */
function areTexts(data: Uint8Array, count: number): boolean {
  const texts = decodeStrings(data, count);
  return texts !== undefined && texts.every((text) => !text.includes("\0"));
}

/** What goes wrong here went wrong in the broker, which forms batches of what fits together. */
function checkFit(
  model: ModelDescription,
  item: AssembleItem,
  batch: { readonly first: AssembleItem | undefined; readonly rows: number },
): ItemFault | undefined {
  if (batch.first === undefined) return undefined;
  if (!model.batching)
    return { code: "internal", message: "the model does not batch, and there is a request before it" };
  if (batch.rows + item.rows > model.maxBatchSize) {
    return {
      code: "internal",
      message: `the batch is larger than the ${model.maxBatchSize} rows that the model takes`,
    };
  }
  for (const [position, { name, shape }] of batch.first.tensors.entries()) {
    const own = item.tensors[position]!.shape;
    for (let dimension = 1; dimension < shape.length; dimension++) {
      if (own[dimension] !== shape[dimension]) {
        return { code: "internal", message: `input "${name}" has another inner shape than the batch` };
      }
    }
  }
  return undefined;
}

/** Rows lie one behind the other in every datatype, BYTES too: so their bytes are put together, whatever they mean. */
function concatenate(model: ModelDescription, items: readonly AssembleItem[], rows: number): BatchTensor[] {
  const offsets = items.map(() => 0);
  return model.inputs.map(({ name, datatype }, position) => {
    let total = 0;
    for (const { tensors } of items) total += tensors[position]!.bytes;
    const data = new ArrayBuffer(total);
    const bytes = new Uint8Array(data);
    let at = 0;
    for (const [index, { tensors, payload }] of items.entries()) {
      const start = offsets[index]!;
      const end = start + tensors[position]!.bytes;
      bytes.set(payload.subarray(start, end), at);
      offsets[index] = end;
      at += end - start;
    }
    const { shape } = items[0]!.tensors[position]!;
    return { name, datatype, shape: model.batching ? [rows, ...shape.slice(1)] : [...shape], data };
  });
}

type Piece = { readonly header: TensorHeader; readonly data: Uint8Array };

function cut({ name, datatype, shape, data }: BatchTensor, rowsPerItem: readonly number[]): Piece[] {
  const bytes = new Uint8Array(data);
  if (rowsPerItem.length === 1) return [{ header: { name, datatype, shape, bytes: bytes.byteLength }, data: bytes }];
  const inner = shape.slice(1);
  const perRow = elementCount(inner);
  const size = DATATYPES[datatype].bytes;
  let at = 0;
  return rowsPerItem.map((rows) => {
    const end = size > 0 ? at + rows * perRow * size : bytesElementsEnd(bytes, at, rows * perRow);
    const own = bytes.subarray(at, end);
    at = end;
    return { header: { name, datatype, shape: [rows, ...inner], bytes: own.byteLength }, data: own };
  });
}

function join(pieces: readonly Piece[]): Uint8Array {
  if (pieces.length === 1) return pieces[0]!.data;
  const payload = new Uint8Array(pieces.reduce((total, { data }) => total + data.byteLength, 0));
  let at = 0;
  for (const { data } of pieces) {
    payload.set(data, at);
    at += data.byteLength;
  }
  return payload;
}

function withoutOutputs(message: string): ItemOutputs {
  return { tensors: [], payload: new Uint8Array(0), fault: { code: "invalid_input", message } };
}

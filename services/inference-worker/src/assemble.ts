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
import { copyCorner } from "./block-copy.ts";
import { along, extentOf, paddedExtent, type Padding, withMasks } from "./padding.ts";
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

/** What is to be known of a model so that requests can be put together; see ModelDescription. */
export type AssembleModel = Pick<ModelDescription, "inputs" | "batching" | "maxBatchSize" | "platform">;

/** The sizes of items along the axes of their model's padding: what the outputs of a padded run are cut back to. */
export type Extents = {
  readonly padding: Padding;
  /** Of each item that takes part, in the order of their rows. */
  readonly own: readonly (readonly number[])[];
  /** Of all, as they run. */
  readonly padded: readonly number[];
};

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
  /** Undefined where nothing is padded. */
  readonly extents: Extents | undefined;
  /** Elements of the inputs, and how many of these are padding. */
  readonly elements: number;
  readonly paddingElements: number;
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
 * Puts the requests of a batch together, row behind row. Pure and synchronous; copies every payload once (twice where a mask is made
 * for it), O(bytes), and never throws, whatever the items hold: what does not fit the model stays out and is told why, and does no
 * harm to the others.
 *
 * A model that batches takes the items whose open inner dimensions are those of the first good one, up to its largest batch; with
 * padding, sizes along an axis may differ, and are padded to the smallest size of the axis that holds all. A model that does
 * not batch takes one item, as it is.
 */
export function assemble(model: AssembleModel, items: readonly AssembleItem[], padding?: Padding): Assembled {
  const included: number[] = [];
  const faults: (ItemFault | undefined)[] = [];
  const good: AssembleItem[] = [];
  const own: number[][] = [];
  const { inputs } = model;
  let rows = 0;
  for (const [index, given] of items.entries()) {
    const item = padding === undefined ? given : withMasks(inputs, padding, given);
    let fault = checkItem(model, item) ?? checkFit(model, item, { first: good[0], rows, padding });
    const extent = fault !== undefined || padding === undefined ? [] : extentOf(inputs, padding, item);
    if (!Array.isArray(extent)) fault = extent;
    else if (fault === undefined) own.push(extent);
    faults.push(fault);
    if (fault !== undefined) continue;
    rows += item.rows;
    included.push(index);
    good.push(item);
  }
  const extents =
    padding === undefined || rows === 0 ? undefined : { padding, own, padded: paddedExtent(padding, own) };
  if (rows === 0) return { rows, inputs: [], included, faults, extents, elements: 0, paddingElements: 0 };
  const tensors = extents === undefined ? concatenate(model, good, rows) : pad(inputs, good, { rows, extents });
  let elements = 0;
  for (const { shape } of tensors) elements += elementCount(shape);
  let paddingElements = 0;
  if (extents !== undefined) {
    paddingElements = elements;
    for (const item of good) for (const { shape } of item.tensors) paddingElements -= elementCount(shape);
  }
  return { rows, inputs: tensors, included, faults, extents, elements, paddingElements };
}

/**
 * Cuts the outputs of a run at the rows of its items, in their order. `wantedOutputs` names the outputs that each item asks for,
 * in the order in which it gets them; an empty list means all.
 *
 * A single item gets everything, whatever its shape (models that do not batch). For several, the first dimension of every output
 * must be the sum of `rowsPerItem`, which HostedModel has checked. An item that asks for one output gets a view of it, without a
 * copy; several outputs are copied together. Cutting BYTES walks over the elements. With `extents`, outputs that lie along an axis
 * are cut back to the item's own size, by a copy where that is smaller.
 */
export function split(
  outputs: readonly BatchTensor[],
  rowsPerItem: readonly number[],
  {
    wantedOutputs,
    extents,
  }: { readonly wantedOutputs: readonly (readonly string[])[]; readonly extents?: Extents | undefined },
): ItemOutputs[] {
  const fault = extents === undefined ? "" : axisFault(outputs, extents);
  if (fault !== "") return rowsPerItem.map(() => withoutOutputs({ code: "model_error", message: fault }));
  const pieces = outputs.map((output, tensor) => {
    const cuts = cut(output, rowsPerItem);
    return extents === undefined ? cuts : cuts.map((piece, item) => cutBack(piece, extents, { tensor, item }));
  });
  const positions = new Map(outputs.map(({ name }, position) => [name, position]));
  const all = [...positions.keys()];
  return rowsPerItem.map((_, index) => {
    const wanted = wantedOutputs[index] ?? [];
    const own: Piece[] = [];
    for (const name of wanted.length === 0 ? all : wanted) {
      const piece = pieces[positions.get(name) ?? -1]?.[index];
      if (piece === undefined) {
        return withoutOutputs({ code: "invalid_input", message: `the model has no output "${name}"` });
      }
      own.push(piece);
    }
    return { tensors: own.map(({ header }) => header), payload: join(own), fault: undefined };
  });
}

function checkItem(model: AssembleModel, item: AssembleItem): ItemFault | undefined {
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
    const dataFault = checkData(model, tensor, part(payload, offset, end));
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

function checkData(model: AssembleModel, tensor: TensorHeader, data: Uint8Array): ItemFault | undefined {
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

/** Whether onnxruntime can be given the elements: its binding takes strings alone, and cuts each at its first zero. */
function areTexts(data: Uint8Array, count: number): boolean {
  const texts = decodeStrings(data, count);
  return texts !== undefined && texts.every((text) => !text.includes("\0"));
}

/** What goes wrong here went wrong in the broker, which forms batches of what fits together. */
function checkFit(
  model: AssembleModel,
  item: AssembleItem,
  batch: { readonly first: AssembleItem | undefined; readonly rows: number; readonly padding: Padding | undefined },
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
      if (own[dimension] !== shape[dimension] && !isPadded(batch.padding, position, dimension)) {
        return { code: "internal", message: `input "${name}" has another inner shape than the batch` };
      }
    }
  }
  return undefined;
}

function isPadded(padding: Padding | undefined, tensor: number, dimension: number): boolean {
  if (padding === undefined) return false;
  return padding.axes.some(({ inputs }) =>
    inputs.some((place) => place.tensor === tensor && place.dimension === dimension),
  );
}

/** Rows lie one behind the other in every datatype, BYTES too: so their bytes are put together, whatever they mean. */
function concatenate(model: AssembleModel, items: readonly AssembleItem[], rows: number): BatchTensor[] {
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
      bytes.set(part(payload, start, end), at);
      offsets[index] = end;
      at += end - start;
    }
    const { shape } = items[0]!.tensors[position]!;
    return { name, datatype, shape: model.batching ? [rows, ...shape.slice(1)] : [...shape], data };
  });
}

/** The same with every row in the corner of a place of the padded size. */
function pad(
  inputs: readonly TensorSpec[],
  items: readonly AssembleItem[],
  { rows, extents }: { readonly rows: number; readonly extents: Extents },
): BatchTensor[] {
  const offsets = items.map(() => 0);
  const places = extents.padding.axes.map((axis) => axis.inputs);
  return inputs.map(({ name, datatype }, position) => {
    const given = items[0]!.tensors[position]!.shape;
    const inner = along(given, places, { tensor: position, extent: extents.padded }).slice(1);
    const fill = extents.padding.fills[position]!;
    const isText = fill.byteLength === 0;
    let total = 0;
    for (const { tensors } of items) total += tensors[position]!.bytes;
    const data = new ArrayBuffer(isText ? total : rows * elementCount(inner) * fill.byteLength);
    if (fill.some((byte) => byte !== 0)) Buffer.from(data).fill(fill);
    let at = 0;
    for (const [index, { tensors, payload, rows: own }] of items.entries()) {
      const { bytes, shape } = tensors[position]!;
      const from = payload.subarray(offsets[index], (offsets[index]! += bytes));
      const size = isText ? bytes : own * elementCount(inner) * fill.byteLength;
      const to = new Uint8Array(data, at, size);
      if (isText) to.set(from);
      else copyCorner({ bytes: from, shape }, { bytes: to, shape: [own, ...inner] }, fill.byteLength);
      at += size;
    }
    return { name, datatype, shape: [rows, ...inner], data };
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
  // Items of as many rows share it: most have one.
  let header: TensorHeader | undefined;
  return rowsPerItem.map((rows) => {
    const end = size > 0 ? at + rows * perRow * size : bytesElementsEnd(bytes, at, rows * perRow);
    const own = bytes.subarray(at, end);
    at = end;
    if (header?.shape[0] !== rows || header.bytes !== own.byteLength)
      header = { name, datatype, shape: [rows, ...inner], bytes: own.byteLength };
    return { header, data: own };
  });
}

/** A view costs more than a look whether it would be of the whole, as it is where a model has one input. */
function part(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return start === 0 && end === bytes.byteLength ? bytes : bytes.subarray(start, end);
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

function withoutOutputs(fault: ItemFault): ItemOutputs {
  return { tensors: [], payload: new Uint8Array(0), fault };
}

/** Which output is not of the padded size where it lies along an axis; "" where all are. */
function axisFault(outputs: readonly BatchTensor[], { padding, padded }: Extents): string {
  for (const [axis, { outputs: axisPlaces }] of padding.axes.entries()) {
    for (const { tensor, dimension } of axisPlaces) {
      const { name = "", shape = [] } = outputs[tensor] ?? {};
      if (shape[dimension] === padded[axis]) continue;
      return `dimension ${dimension} of its output "${name}" [${shape.join(", ")}] is not the padded ${padded[axis]}`;
    }
  }
  return "";
}

function cutBack({ header, data }: Piece, extents: Extents, at: { tensor: number; item: number }): Piece {
  const { name, datatype, shape } = header;
  const places = extents.padding.axes.map(({ outputs }) => outputs);
  const own = along(shape, places, { tensor: at.tensor, extent: extents.own[at.item]! });
  if (own.every((size, dimension) => size === shape[dimension])) return { header, data };
  const size = DATATYPES[datatype].bytes;
  const bytes = new Uint8Array(elementCount(own) * size);
  copyCorner({ bytes: data, shape }, { bytes, shape: own }, size);
  return { header: { name, datatype, shape: own, bytes: bytes.byteLength }, data: bytes };
}

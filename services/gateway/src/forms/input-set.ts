import { hash } from "node:crypto";
import {
  bucketText,
  elementCount,
  FREE,
  LIMITS,
  type ModelDescription,
  paddedSize,
  type Tensor,
  type TensorSpec,
} from "@millrace/protocol";
import { quote, Refusal, shapeText } from "../http/refusal.ts";

/** The inputs of one request, checked against the model: see InferenceRequest, which these fields become part of. */
export type InputSet = {
  readonly rows: number;
  readonly bucket: string;
  readonly cost: number;
  readonly inputs: readonly Tensor[];
  readonly payload: Uint8Array;
};

/** The largest dimension: what 32-bit tensor libraries can index. */
const DIMENSION_MAX = 2 ** 31 - 1;

/** Whether a client's shape fits the model's input: `invalid_shape`, or `too_many_rows` beyond the model's largest request. */
export function checkShape(model: ModelDescription, spec: TensorSpec, shape: readonly number[]): Refusal | undefined {
  if (shape.length !== spec.shape.length) return shapeFault(spec, shape);
  for (let i = 0; i < shape.length; i++) {
    const size = shape[i]!;
    const expected = spec.shape[i];
    if (expected === FREE ? size > DIMENSION_MAX : size !== expected) return shapeFault(spec, shape);
  }
  if (!model.batching) return undefined;
  const rows = shape[0]!;
  if (rows < 1) return new Refusal("invalid_shape", `input ${quote(spec.name)}: a request needs at least one row`);
  if (rows <= model.maxRequestRows) return undefined;
  return new Refusal(
    "too_many_rows",
    `input ${quote(spec.name)} has ${rows} rows, model ${quote(model.name)} takes at most ${model.maxRequestRows} a request`,
  );
}

function shapeFault(spec: TensorSpec, shape: readonly number[]): Refusal {
  return new Refusal(
    "invalid_shape",
    `input ${quote(spec.name)}: expected shape ${shapeText(spec.shape)}, given ${shapeText(shape)}`,
  );
}

/** Whether a request may leave an input out. */
export function isOptional({ optionalInputs }: ModelDescription, position: number): boolean {
  return optionalInputs.length > 0 && optionalInputs.includes(position);
}

/**
 * Puts the tensors of a request together, given in the model's order with shapes that `checkShape` has passed; optional ones may be
 * missing. Copies the data only where there are several inputs that do not lie one behind the other already, as those of a binary
 * body do. Refuses what does not fit together, and what is larger than the model's buckets or runs.
 */
export function assembleInputs(model: ModelDescription, tensors: readonly Tensor[]): InputSet | Refusal {
  const first = tensors[0];
  if (first === undefined) return { rows: 1, bucket: "", cost: 1, inputs: [], payload: Buffer.alloc(0) };
  const rows = model.batching ? first.shape[0]! : 1;
  let bytes = 0;
  for (const tensor of tensors) {
    bytes += tensor.data.byteLength;
    if (model.batching && tensor.shape[0] !== rows) {
      return new Refusal(
        "invalid_shape",
        `input ${quote(tensor.name)} has ${tensor.shape[0]} rows, input ${quote(first.name)} has ${rows}`,
      );
    }
  }
  if (bytes > LIMITS.payloadBytes) {
    return new Refusal("body_too_large", `the inputs have ${bytes} bytes, at most ${LIMITS.payloadBytes} are accepted`);
  }
  const place = placeOf(model, tensors, rows);
  return place instanceof Refusal ? place : { rows, ...place, ...packInputs(tensors) };
}

/** Tensors one behind the other in one payload. Copies the data only where there are several that do not lie so already. */
export function packInputs(tensors: readonly Tensor[]): Pick<InputSet, "inputs" | "payload"> {
  if (tensors.length === 1) return { inputs: tensors, payload: tensors[0]!.data };
  const together = contiguous(tensors);
  if (together !== undefined) return { inputs: tensors, payload: together };
  const payload = Buffer.concat(tensors.map((tensor) => tensor.data));
  let at = 0;
  const inputs = tensors.map(({ name, datatype, shape, data }) => {
    const from = at;
    at += data.byteLength;
    return { name, datatype, shape, data: payload.subarray(from, at) };
  });
  return { inputs, payload };
}

/** One view of all data, where they lie one behind the other in one buffer. */
function contiguous(tensors: readonly Tensor[]): Uint8Array | undefined {
  const first = tensors[0]!.data;
  let end = first.byteOffset;
  for (const { data } of tensors) {
    if (data.buffer !== first.buffer || data.byteOffset !== end) return undefined;
    end += data.byteLength;
  }
  return Buffer.from(first.buffer, first.byteOffset, end - first.byteOffset);
}

type Place = Pick<InputSet, "bucket" | "cost">;

/** With which requests it may share a run, and what it adds to one. */
function placeOf(model: ModelDescription, tensors: readonly Tensor[], rows: number): Place | Refusal {
  if (model.axes.length === 0 && model.maxBatchElements === 0) return { bucket: bucketOf(model, tensors), cost: rows };
  const shapes = model.axes.length === 0 ? tensors.map(({ shape }) => shape) : paddedShapes(model, tensors);
  if (shapes instanceof Refusal) return shapes;
  const inner = model.batching ? shapes.map((shape) => shape.slice(1)) : shapes;
  const bucket = model.axes.length === 0 ? bucketOf(model, tensors) : shortened(bucketText(inner));
  if (model.maxBatchElements === 0) return { bucket, cost: rows };
  const rowElements = inner.reduce((sum, shape) => sum + elementCount(shape), 0);
  if (rowElements <= model.maxBatchElements) return { bucket, cost: rows * rowElements };
  const most = `model ${quote(model.name)} takes at most ${model.maxBatchElements} in a run`;
  return new Refusal("invalid_shape", `a row has ${rowElements} elements, padding included; ${most}`);
}

/** The shapes of all inputs as they will run, those that are left out too. */
function paddedShapes(model: ModelDescription, tensors: readonly Tensor[]): readonly (readonly number[])[] | Refusal {
  const shapes = model.inputs.map(({ name, shape }) => [...(tensors.find((one) => one.name === name)?.shape ?? shape)]);
  for (const { sizes, inputs } of model.axes) {
    const given = inputs.filter(({ tensor, dimension }) => shapes[tensor]?.[dimension] !== FREE);
    const own = given.map(({ tensor, dimension }) => shapes[tensor]?.[dimension] ?? 0);
    const other = own.findIndex((size) => size !== own[0]);
    if (other > 0) {
      const [a, b] = [given[0]!, given[other]!].map(({ tensor }) => quote(model.inputs[tensor]!.name));
      return new Refusal(
        "invalid_shape",
        `inputs ${a} and ${b} must be of one length, they are ${own[0]} and ${own[other]}`,
      );
    }
    const padded = own[0] === undefined || own[0] < 1 ? undefined : paddedSize(sizes, own[0]);
    if (padded === undefined) {
      const { tensor = 0, dimension = 0 } = given[0] ?? {};
      const where = `dimension ${dimension} of input ${quote(model.inputs[tensor]?.name ?? "")}`;
      return new Refusal(
        "invalid_shape",
        `${where} is ${own[0]}, model ${quote(model.name)} takes 1 to ${sizes.at(-1)}`,
      );
    }
    for (const { tensor, dimension } of inputs) if (shapes[tensor] !== undefined) shapes[tensor][dimension] = padded;
  }
  return shapes;
}

/** Requests share a run only where their inner dimensions agree. */
function bucketOf(model: ModelDescription, tensors: readonly Tensor[]): string {
  const from = model.batching ? 1 : 0;
  if (!model.inputs.some((spec) => spec.shape.indexOf(FREE, from) >= 0)) return "";
  return shortened(bucketText(tensors.map((tensor) => tensor.shape.slice(from))));
}

/** A text too long for the wire is replaced by its digest. */
function shortened(text: string): string {
  return text.length <= LIMITS.nameBytes ? text : `sha256:${hash("sha256", text)}`;
}

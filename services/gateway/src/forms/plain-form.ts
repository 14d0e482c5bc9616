import { elementCount, FREE, type ModelDescription, type Tensor, type TensorSpec } from "@millrace/protocol";
import { assembleInputs, checkShape, type InputSet, isOptional } from "./input-set.ts";
import { buildFromJson, isObject, textOf } from "./json-body.ts";
import { encodeData, NEEDS_EXACT } from "./json-data.ts";
import { refuseBytesOnlyOutputs } from "./json-outputs.ts";
import { nestedText } from "./json-text.ts";
import { sizesOf } from "./nesting.ts";
import { outputNamed } from "./oip-response.ts";
import { describe, quote, Refusal, shapeText } from "../http/refusal.ts";

/**
 * The plain form: `{"data": …, "request_id"?}` to `{"request_id", "result", "latency_ms", "batch_size"}`. Pure.
 *
 * The nesting of the data gives the shape. As deep as one row of the model's input: one row, and the result comes without a
 * batch dimension. As deep as the whole input: rows. A flat list with as many elements as a row of fixed size: one row too.
 */
export type PlainRequest = InputSet & {
  /** The client's `request_id`, to be echoed; "" = none. */
  readonly requestId: string;
  /** Whether the result comes without the batch dimension. */
  readonly isOneRow: boolean;
  /** All of them: the form has no way to ask for less. Timeout and priority cannot be given either. */
  readonly outputs: readonly string[];
  readonly timeoutMs: number;
  readonly priority: number;
};

/** Reads a request from a body. Never throws; every fault of the client's becomes a Refusal that names it. */
export function parsePlainRequest(body: Buffer, model: ModelDescription): PlainRequest | Refusal {
  const text = textOf(body);
  return text instanceof Refusal ? text : (refuseBytesOnlyOutputs(model) ?? buildFromJson(text, model, buildRequest));
}

function buildRequest(root: unknown, model: ModelDescription): PlainRequest | Refusal | typeof NEEDS_EXACT {
  if (!isObject(root)) return new Refusal("invalid_request", `the body must be a JSON object, it is ${describe(root)}`);
  const requestId = root.request_id ?? "";
  if (typeof requestId !== "string") {
    return new Refusal("invalid_request", `"request_id" must be a string, it is ${describe(requestId)}`);
  }
  if (root.data === undefined) return new Refusal("invalid_request", `"data" is missing`);
  const values = valuesByInput(root.data, model);
  if (values instanceof Refusal) return values;
  const tensors: Tensor[] = [];
  let isOneRow = model.batching;
  for (const [i, spec] of model.inputs.entries()) {
    if (values[i] === undefined && isOptional(model, i)) continue;
    const laid = layOut(values[i], spec, model);
    if (laid instanceof Refusal) return laid;
    if (tensors.length > 0 && laid.isOneRow !== isOneRow) {
      return new Refusal(
        "invalid_shape",
        `input ${quote(spec.name)}: give either one row of every input or rows of every input`,
      );
    }
    isOneRow = laid.isOneRow;
    const refusal = checkShape(model, spec, laid.shape);
    if (refusal !== undefined) return refusal;
    const { name, datatype } = spec;
    const data = encodeData({ name, datatype, shape: laid.shape }, laid.data);
    if (data instanceof Refusal || data === NEEDS_EXACT) return data;
    tensors.push({ name, datatype, shape: laid.shape, data });
  }
  const set = assembleInputs(model, tensors);
  return set instanceof Refusal ? set : { ...set, requestId, isOneRow, outputs: [], timeoutMs: 0, priority: 0 };
}

/** The JSON value of each input, in the model's order: `data` itself, or its values by input name. */
function valuesByInput(data: unknown, model: ModelDescription): readonly unknown[] | Refusal {
  const { inputs } = model;
  if (!isObject(data)) {
    if (inputs.length === 1) return [data];
    const needed = inputs.filter((_, at) => !isOptional(model, at));
    if (needed.length === 1) return inputs.map((input) => (input === needed[0] ? data : undefined));
    const names = inputs.slice(0, 16).map((spec) => quote(spec.name));
    return new Refusal("invalid_input", `"data" must be an object with the inputs ${names.join(", ")}`);
  }
  const values: unknown[] = [];
  for (const [at, { name }] of inputs.entries()) {
    const isGiven = Object.hasOwn(data, name);
    if (!isGiven && !isOptional(model, at)) return new Refusal("invalid_input", `missing input ${quote(name)}`);
    values.push(isGiven ? data[name] : undefined);
  }
  const unknown = Object.keys(data).find((key) => !inputs.some((spec) => spec.name === key));
  return unknown === undefined ? values : new Refusal("invalid_input", `unknown input ${quote(unknown)}`);
}

type Layout = { readonly shape: readonly number[]; readonly data: readonly unknown[]; readonly isOneRow: boolean };

/** Finds the shape that the nesting of a value stands for. Only first elements are looked at: encoding checks the rest. */
function layOut(value: unknown, spec: TensorSpec, model: ModelDescription): Layout | Refusal {
  const rank = spec.shape.length;
  const rowShape = model.batching ? spec.shape.slice(1) : spec.shape;
  const sizes = sizesOf(value, rank + 1);
  if (sizes.length === rank) return { shape: sizes, data: asArray(value), isOneRow: false };
  if (model.batching && sizes.length === rank - 1) return { shape: [1, ...sizes], data: [value], isOneRow: true };
  if (sizes.length === 1 && !rowShape.includes(FREE) && sizes[0] === elementCount(rowShape)) {
    const shape = model.batching ? [1, ...rowShape] : rowShape;
    return { shape, data: asArray(value), isOneRow: model.batching };
  }
  const depths = model.batching ? `${rank - 1} deep (one row) or ${rank} deep (rows)` : `${rank} deep`;
  return new Refusal(
    "invalid_shape",
    `input ${quote(spec.name)} has shape ${shapeText(spec.shape)}: nest the data ${depths}, it is ${sizes.length}${sizes.length > rank ? " or more" : ""} deep`,
  );
}

function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}

/** What an answer in plain form tells beside the result. */
export type PlainSummary = {
  readonly requestId: string;
  readonly isOneRow: boolean;
  readonly latencyMs: number;
  readonly batchRows: number;
};

/**
 * The answer: `result` is the model's only output, or an object of its outputs by name, as nested arrays. Refuses like
 * `nestedText`, and with `internal` an answer that lacks an output.
 */
export function plainResponseText(
  model: ModelDescription,
  outputs: readonly Tensor[],
  summary: PlainSummary,
): string | Refusal {
  let result = "";
  for (const [i, { name }] of model.outputs.entries()) {
    const tensor = outputNamed(outputs, name, i);
    if (tensor instanceof Refusal) return tensor;
    const text = nestedText(tensor, summary.isOneRow ? tensor.shape.slice(1) : tensor.shape);
    if (text instanceof Refusal) return text;
    result += model.outputs.length === 1 ? text : `${i === 0 ? "" : ","}${JSON.stringify(name)}:${text}`;
  }
  if (model.outputs.length !== 1) result = `{${result}}`;
  const latencyMs = Math.round(summary.latencyMs * 1000) / 1000;
  return `{"request_id":${JSON.stringify(summary.requestId)},"result":${result},"latency_ms":${latencyMs},"batch_size":${summary.batchRows}}`;
}

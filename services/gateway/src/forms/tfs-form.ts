import type { ModelDescription, Tensor, TensorSpec } from "@millrace/protocol";
import { assembleInputs, checkShape, type InputSet, isOptional } from "./input-set.ts";
import { buildFromJson, isObject, textOf } from "./json-body.ts";
import { encodeData, NEEDS_EXACT } from "./json-data.ts";
import { refuseBytesOnlyOutputs } from "./json-outputs.ts";
import { nestedRows, nestedText } from "./json-text.ts";
import { sizesOf } from "./nesting.ts";
import { outputNamed } from "./oip-response.ts";
import { describe, quote, Refusal, shapeText } from "../http/refusal.ts";
import { unknownName } from "./tensor-names.ts";

/**
 * TensorFlow Serving's predict form: rows (`instances` to `predictions`) or columns (`inputs` to `outputs`); bytes as `{"b64": …}`.
 * Pure. Source: https://www.tensorflow.org/tfx/serving/api_rest, "Predict API" and "Encoding binary values".
 */
export type TfsRequest = InputSet & {
  readonly isColumnar: boolean;
  /** All of them: the form has no way to ask for less. Timeout and priority cannot be given either. */
  readonly outputs: readonly string[];
  readonly timeoutMs: number;
  readonly priority: number;
};

/** The only signature that there is. */
const SIGNATURE = "serving_default";

/** Outputs whose names end so hold bytes, and are told in base64. */
const BYTES_SUFFIX = "_bytes";

/** Reads a request from a body. Never throws; every fault of the client's becomes a Refusal that names it. */
export function parseTfsRequest(body: Buffer, model: ModelDescription): TfsRequest | Refusal {
  const text = textOf(body);
  return text instanceof Refusal ? text : (refuseBytesOnlyOutputs(model) ?? buildFromJson(text, model, buildRequest));
}

function buildRequest(root: unknown, model: ModelDescription): TfsRequest | Refusal | typeof NEEDS_EXACT {
  if (!isObject(root)) return new Refusal("invalid_request", `the body must be a JSON object, it is ${describe(root)}`);
  const { signature_name: signature = SIGNATURE, instances, inputs } = root;
  if (signature !== SIGNATURE && signature !== "") {
    return new Refusal("invalid_request", `no signature ${describe(signature)}, only ${quote(SIGNATURE)}`);
  }
  if ((instances === undefined) === (inputs === undefined)) {
    return new Refusal("invalid_request", 'give either "instances" (rows) or "inputs" (columns)');
  }
  const isColumnar = instances === undefined;
  const asked = askedOf(model, isColumnar || !Array.isArray(instances) ? inputs : instances[0]);
  const values = isColumnar ? columnsOf(inputs, asked) : columnsOfRows(instances, asked);
  if (values instanceof Refusal) return values;
  const tensors: Tensor[] = [];
  for (const [i, spec] of asked.inputs.entries()) {
    const tensor = encode(values[i], spec, model);
    if (tensor instanceof Refusal || tensor === NEEDS_EXACT) return tensor;
    tensors.push(tensor);
  }
  const set = assembleInputs(model, tensors);
  return set instanceof Refusal ? set : { ...set, isColumnar, outputs: [], timeoutMs: 0, priority: 0 };
}

/** The model with the inputs that a request has to give: optional ones only where its columns, or its first row, have them. */
function askedOf(model: ModelDescription, first: unknown): ModelDescription {
  if (model.optionalInputs.length === 0) return model;
  const isGiven = (name: string): boolean => isNamed(first) && Object.hasOwn(first, name);
  return { ...model, inputs: model.inputs.filter(({ name }, at) => !isOptional(model, at) || isGiven(name)) };
}

/** Whether a value is an object of tensors by their names, and not one element. */
function isNamed(value: unknown): value is Readonly<Record<string, unknown>> {
  return isObject(value) && !(typeof value.b64 === "string" && Object.keys(value).length === 1);
}

/** Of "inputs": the value of each input, in the model's order. */
function columnsOf(given: unknown, model: ModelDescription): readonly unknown[] | Refusal {
  if (isNamed(given)) return namedValues(given, model);
  return model.inputs.length === 1 ? [given] : needsNames(model);
}

/** Of "instances": the same, each a list with one element a row. */
function columnsOfRows(given: unknown, model: ModelDescription): readonly unknown[] | Refusal {
  if (!Array.isArray(given) || given.length === 0) {
    return new Refusal("invalid_request", `"instances" must be an array of rows, it is ${describe(given)}`);
  }
  const rows = given as readonly unknown[];
  if (!isNamed(rows[0])) return model.inputs.length === 1 ? [rows] : needsNames(model);
  const columns: unknown[][] = model.inputs.map(() => []);
  for (const [row, values] of rows.entries()) {
    if (!isNamed(values)) {
      return new Refusal("invalid_request", `instances[${row}] must be an object of inputs, it is ${describe(values)}`);
    }
    const named = namedValues(values, model);
    if (named instanceof Refusal) return named;
    for (const [i, value] of named.entries()) columns[i]!.push(value);
  }
  return columns;
}

function namedValues(given: Readonly<Record<string, unknown>>, model: ModelDescription): readonly unknown[] | Refusal {
  const values: unknown[] = [];
  for (const { name } of model.inputs) {
    if (!Object.hasOwn(given, name)) return new Refusal("invalid_input", `missing input ${quote(name)}`);
    values.push(given[name]);
  }
  const unknown = Object.keys(given).find((key) => !model.inputs.some((spec) => spec.name === key));
  return unknown === undefined ? values : unknownName("input", unknown, model.inputs);
}

function needsNames({ name, inputs }: ModelDescription): Refusal {
  const names = inputs.slice(0, 16).map((spec) => quote(spec.name));
  return new Refusal("invalid_input", `model ${quote(name)} has the inputs ${names.join(", ")}: give each by its name`);
}

/** The nesting of a value gives the shape, all of it. */
function encode(value: unknown, spec: TensorSpec, model: ModelDescription): Tensor | Refusal | typeof NEEDS_EXACT {
  const { name, datatype } = spec;
  const rank = spec.shape.length;
  const shape = sizesOf(value, rank + 1);
  if (shape.length !== rank) {
    const given = `${shape.length}${shape.length > rank ? " or more" : ""}`;
    const text = `input ${quote(name)} has shape ${shapeText(spec.shape)}: nest the data ${rank} deep, it is ${given} deep`;
    return new Refusal("invalid_shape", text);
  }
  const refusal = checkShape(model, spec, shape);
  if (refusal !== undefined) return refusal;
  const data = encodeData({ name, datatype, shape, takesBase64: true }, Array.isArray(value) ? value : [value]);
  return data instanceof Refusal || data === NEEDS_EXACT ? data : { name, datatype, shape, data };
}

/**
 * The answer: `predictions`, a list with one element a row, or `outputs`; bare values where there is one output, else objects by
 * name. Refuses like `nestedText`, with `internal` an answer that lacks an output, and with `invalid_request` rows that are none,
 * because the outputs differ in their first dimension.
 */
export function tfsResponse(
  model: ModelDescription,
  outputs: readonly Tensor[],
  { isColumnar }: Pick<TfsRequest, "isColumnar">,
): string | Refusal {
  const tensors: Tensor[] = [];
  for (const [i, { name }] of model.outputs.entries()) {
    const tensor = outputNamed(outputs, name, i);
    if (tensor instanceof Refusal) return tensor;
    tensors.push(tensor);
  }
  return isColumnar ? columnsText(tensors) : rowsText(tensors);
}

function asBase64({ name }: Tensor): boolean {
  return name.endsWith(BYTES_SUFFIX);
}

function columnsText(tensors: readonly Tensor[]): string | Refusal {
  const members: string[] = [];
  for (const tensor of tensors) {
    const text = nestedText(tensor, tensor.shape, asBase64(tensor));
    if (text instanceof Refusal) return text;
    members.push(tensors.length === 1 ? text : `${JSON.stringify(tensor.name)}:${text}`);
  }
  return `{"outputs":${tensors.length === 1 ? members[0] : `{${members.join(",")}}`}}`;
}

function rowsText(tensors: readonly Tensor[]): string | Refusal {
  const columns: string[][] = [];
  for (const tensor of tensors) {
    if (tensor.shape.length === 0 || tensor.shape[0] !== tensors[0]?.shape[0]) {
      return new Refusal(
        "invalid_request",
        'the outputs have no rows in common: ask with "inputs" in place of "instances"',
      );
    }
    const rows = nestedRows(tensor, asBase64(tensor));
    if (rows instanceof Refusal) return rows;
    columns.push(tensors.length === 1 ? rows : rows.map((text) => `${JSON.stringify(tensor.name)}:${text}`));
  }
  const rows = (columns[0] ?? []).map((text, row) =>
    tensors.length === 1 ? text : `{${columns.map((column) => column[row]).join(",")}}`,
  );
  return `{"predictions":[${rows.join(",")}]}`;
}

import {
  DATATYPES,
  elementCount,
  isDatatype,
  isWellSized,
  type ModelDescription,
  type Tensor,
  type TensorSpec,
} from "@millrace/protocol";
import { ALL_JSON, BlobReader, jsonOf, NO_BLOBS } from "./binary-body.ts";
import { assembleInputs, checkShape, type InputSet, isOptional } from "./input-set.ts";
import { buildFromJson, isObject, textOf } from "./json-body.ts";
import { type DataForm, encodeData, NEEDS_EXACT } from "./json-data.ts";
import { type OutputChoice, readOutputs } from "./oip-outputs.ts";
import { PRIORITY_MAX } from "../call/priority.ts";
import { parseRawRequest } from "./raw-request.ts";
import { describe, quote, Refusal, shapeText } from "../http/refusal.ts";
import { unknownName } from "./tensor-names.ts";

/**
 * An inference request of the Open Inference Protocol V2, its tensors in JSON or as bytes behind it, checked against the model. Pure.
 * Source: https://github.com/kserve/open-inference-protocol, "Inference Request JSON Object"; for bytes see binary-body.ts.
 */
export type OipRequest = InputSet & {
  /** The client's `id`, to be echoed; "" = none. */
  readonly id: string;
  /** Names of the outputs asked for, each once; [] = all. */
  readonly outputs: readonly string[];
  /** The same, and how each is to be told. */
  readonly choice: OutputChoice;
  /** From `parameters.timeout`, in milliseconds; 0 = not given. */
  readonly timeoutMs: number;
  /** From `parameters.priority`; 0 = not given, or the default. */
  readonly priority: number;
};

/**
 * Reads a request from a body; `jsonBytes`: of its JSON (0: it has none, and is the data of the only input), or `ALL_JSON`. Inputs that
 * came as bytes are views of the body. Never throws; every fault of the client's becomes a Refusal that names it.
 */
export function parseOipRequest(body: Buffer, model: ModelDescription, jsonBytes: number): OipRequest | Refusal {
  if (jsonBytes === 0) return parseRawRequest(body, model);
  const json = jsonOf(body, jsonBytes);
  const text = json instanceof Refusal ? json : textOf(json);
  if (text instanceof Refusal) return text;
  if (jsonBytes === ALL_JSON) return buildFromJson(text, model, buildJsonRequest);
  return buildFromJson(text, { model, body, jsonBytes }, buildBinaryRequest);
}

function buildJsonRequest(root: unknown, model: ModelDescription): OipRequest | Refusal | typeof NEEDS_EXACT {
  return buildRequest(root, model, NO_BLOBS);
}

function buildBinaryRequest(
  root: unknown,
  { model, body, jsonBytes }: { readonly model: ModelDescription; readonly body: Buffer; readonly jsonBytes: number },
): OipRequest | Refusal | typeof NEEDS_EXACT {
  const blobs = new BlobReader(body, jsonBytes);
  const request = buildRequest(root, model, blobs);
  if (request instanceof Refusal || request === NEEDS_EXACT || blobs.bytesLeft === 0) return request;
  return new Refusal("invalid_request", `the body has ${blobs.bytesLeft} bytes behind the data of its inputs`);
}

function buildRequest(
  root: unknown,
  model: ModelDescription,
  blobs: BlobReader,
): OipRequest | Refusal | typeof NEEDS_EXACT {
  if (!isObject(root)) return new Refusal("invalid_request", `the body must be a JSON object, it is ${describe(root)}`);
  const { inputs } = root;
  // Some clients write null for what they do not give.
  const id = root.id ?? "";
  if (typeof id !== "string") {
    return new Refusal("invalid_request", `"id" must be a string, it is ${describe(id)}`);
  }
  if (!Array.isArray(inputs)) {
    return new Refusal("invalid_request", `"inputs" must be an array of tensors, it is ${describe(inputs)}`);
  }
  const parameters = readParameters(root.parameters ?? undefined);
  if (parameters instanceof Refusal) return parameters;
  const choice = readOutputs(root.outputs ?? undefined, model, parameters.isBinaryOutput);
  if (choice instanceof Refusal) return choice;
  const tensors = readInputs(inputs, model, blobs);
  if (tensors instanceof Refusal || tensors === NEEDS_EXACT) return tensors;
  const set = assembleInputs(model, tensors);
  if (set instanceof Refusal) return set;
  return {
    id,
    rows: set.rows,
    bucket: set.bucket,
    cost: set.cost,
    inputs: set.inputs,
    payload: set.payload,
    outputs: choice.names,
    choice,
    timeoutMs: parameters.timeoutMs,
    priority: parameters.priority,
  };
}

function readInputs(
  given: readonly unknown[],
  model: ModelDescription,
  blobs: BlobReader,
): readonly Tensor[] | Refusal | typeof NEEDS_EXACT {
  const { inputs: specs } = model;
  const tensors: (Tensor | undefined)[] = specs.map(() => undefined);
  for (let i = 0; i < given.length; i++) {
    const input = given[i];
    if (!isObject(input))
      return new Refusal("invalid_request", `inputs[${i}] must be an object, it is ${describe(input)}`);
    const { name } = input;
    if (typeof name !== "string") {
      return new Refusal("invalid_request", `inputs[${i}].name must be a string, it is ${describe(name)}`);
    }
    // Clients mostly keep the model's order, so the search is the exception.
    const at = specs[i]?.name === name ? i : specs.findIndex((spec) => spec.name === name);
    const spec = specs[at];
    if (spec === undefined) return unknownName("input", name, specs);
    if (tensors[at] !== undefined) return new Refusal("invalid_input", `input ${quote(name)} is given twice`);
    const form = readForm(input, spec, model);
    if (form instanceof Refusal) return form;
    const data = readData(input, form, blobs);
    if (data instanceof Refusal || data === NEEDS_EXACT) return data;
    tensors[at] = { name: form.name, datatype: form.datatype, shape: form.shape, data };
  }
  if (given.length === specs.length) return tensors as Tensor[];
  const missing = specs.filter((_, at) => tensors[at] === undefined && !isOptional(model, at));
  if (missing.length === 0) return tensors.filter((tensor) => tensor !== undefined);
  return new Refusal("invalid_input", `missing input ${missing.map(({ name }) => quote(name)).join(", ")}`);
}

/** What the data of an input have to be: its datatype and shape, if they are the model's. */
function readForm(
  { datatype, shape }: Readonly<Record<string, unknown>>,
  spec: TensorSpec,
  model: ModelDescription,
): DataForm | Refusal {
  const { name } = spec;
  if (datatype !== spec.datatype) return datatypeFault(datatype, spec);
  if (!isShape(shape)) {
    return new Refusal(
      "invalid_shape",
      `input ${quote(name)}: "shape" must be an array of sizes (integers, 0 or more)`,
    );
  }
  return checkShape(model, spec, shape) ?? { name, datatype: spec.datatype, shape };
}

function readData(
  { data, parameters }: Readonly<Record<string, unknown>>,
  form: DataForm,
  blobs: BlobReader,
): Uint8Array | Refusal | typeof NEEDS_EXACT {
  if (parameters !== undefined && parameters !== null) {
    const bytes = readBlobBytes(form.name, parameters);
    if (bytes instanceof Refusal) return bytes;
    if (bytes !== undefined && data !== undefined && data !== null) {
      return new Refusal("invalid_input", `input ${quote(form.name)} has both "data" and "binary_data_size"`);
    }
    if (bytes !== undefined) return takeBlob(form, bytes, blobs);
  }
  if (Array.isArray(data)) return encodeData(form, data);
  const given = data === undefined ? "has no data" : `has data that is ${describe(data)}`;
  return new Refusal("invalid_input", `input ${quote(form.name)} ${given}; an array is expected`);
}

/** The parameters of an input: how many bytes behind the JSON are its data; undefined = it is in the JSON. */
function readBlobBytes(name: string, parameters: unknown): number | undefined | Refusal {
  const where = `input ${quote(name)}`;
  if (!isObject(parameters)) {
    return new Refusal("invalid_request", `${where}: "parameters" must be an object, it is ${describe(parameters)}`);
  }
  let bytes: number | undefined;
  for (const key of Object.keys(parameters)) {
    const value = parameters[key];
    if (key !== "binary_data_size") {
      return new Refusal("unsupported", `${where}: parameter ${quote(key)} is not supported`);
    }
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
      const text = `${where}: parameter "binary_data_size" must be a number of bytes, 0 or more, it is ${describe(value)}`;
      return new Refusal("invalid_request", text);
    }
    bytes = value;
  }
  return bytes;
}

function takeBlob({ name, datatype, shape }: DataForm, bytes: number, blobs: BlobReader): Uint8Array | Refusal {
  const data = blobs.take(bytes);
  if (data === undefined) {
    const text = `input ${quote(name)}: "binary_data_size" is ${bytes}, the body has ${blobs.bytesLeft} bytes left`;
    return new Refusal("invalid_request", text);
  }
  if (isWellSized(datatype, shape, data)) return data;
  const elements =
    DATATYPES[datatype].bytes === 0 ? "as many elements" : `${elementCount(shape) * DATATYPES[datatype].bytes} bytes`;
  const text = `input ${quote(name)}: ${datatype} of shape ${shapeText(shape)} needs ${elements}, "binary_data_size" is ${bytes}`;
  return new Refusal("invalid_shape", text);
}

function datatypeFault(given: unknown, spec: TensorSpec): Refusal {
  const where = `input ${quote(spec.name)}`;
  if (!isDatatype(given)) {
    return new Refusal("invalid_datatype", `${where}: unknown datatype ${describe(given)}, expected ${spec.datatype}`);
  }
  return new Refusal("invalid_datatype", `${where}: expected datatype ${spec.datatype}, given ${given}`);
}

function isShape(value: unknown): value is readonly number[] {
  if (!Array.isArray(value)) return false;
  for (let i = 0; i < value.length; i++) {
    const size: unknown = value[i];
    if (typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) return false;
  }
  return true;
}

type Parameters = { readonly timeoutMs: number; readonly priority: number; readonly isBinaryOutput: boolean };

const NO_PARAMETERS: Parameters = { timeoutMs: 0, priority: 0, isBinaryOutput: false };

function readParameters(given: unknown): Parameters | Refusal {
  if (given === undefined) return NO_PARAMETERS;
  if (!isObject(given)) {
    return new Refusal("invalid_request", `"parameters" must be an object, it is ${describe(given)}`);
  }
  let { timeoutMs, priority, isBinaryOutput } = NO_PARAMETERS;
  for (const key of Object.keys(given)) {
    const value = given[key];
    if (key === "timeout" || key === "priority") {
      if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
        const unit = key === "timeout" ? "microseconds, an integer" : "an integer";
        return new Refusal(
          "invalid_request",
          `parameter "${key}" must be ${unit} of 0 or more, it is ${describe(value)}`,
        );
      }
      if (key === "timeout") timeoutMs = value / 1000;
      else if (value <= PRIORITY_MAX) priority = value;
      else return new Refusal("invalid_request", `parameter "priority" must be 0 to ${PRIORITY_MAX}, it is ${value}`);
    } else if (key === "binary_data_output") {
      if (typeof value !== "boolean") {
        const text = `parameter "binary_data_output" must be true or false, it is ${describe(value)}`;
        return new Refusal("invalid_request", text);
      }
      isBinaryOutput = value;
    } else if (key.startsWith("triton_")) {
      return new Refusal("invalid_request", `parameter ${quote(key)}: names that start with "triton_" are reserved`);
    } else return new Refusal("unsupported", `parameter ${quote(key)} is not supported`);
  }
  return { timeoutMs, priority, isBinaryOutput };
}

import { isDatatype, type ModelDescription, type Tensor, type TensorSpec } from "@millrace/protocol";
import { assembleInputs, checkShape, type InputSet } from "./input-set.ts";
import { buildFromJson, isObject } from "./json-body.ts";
import { encodeData, NEEDS_EXACT } from "./json-data.ts";
import { describe, quote, Refusal } from "./refusal.ts";

/**
 * The JSON form of an inference request of the Open Inference Protocol V2, checked against the model. Pure.
 * Source: https://github.com/kserve/open-inference-protocol, "Inference Request JSON Object".
 */
export type OipRequest = InputSet & {
  /** The client's `id`, to be echoed; "" = none. */
  readonly id: string;
  /** Names of the outputs asked for, each once; [] = all. */
  readonly outputs: readonly string[];
  /** From `parameters.timeout`, in milliseconds; 0 = not given. */
  readonly timeoutMs: number;
  /** Always 0, the default: no broker schedules by priority yet, so `parameters.priority` is refused unless it is 0. */
  readonly priority: number;
};

/** Reads a request from a body's text. Never throws; every fault of the client's becomes a Refusal that names it. */
export function parseOipRequest(text: string, model: ModelDescription): OipRequest | Refusal {
  return buildFromJson(text, model, buildRequest);
}

function buildRequest(root: unknown, model: ModelDescription): OipRequest | Refusal | typeof NEEDS_EXACT {
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
  const outputs = readOutputs(root.outputs ?? undefined, model);
  if (outputs instanceof Refusal) return outputs;
  const tensors = readInputs(inputs, model);
  if (tensors instanceof Refusal || tensors === NEEDS_EXACT) return tensors;
  const set = assembleInputs(model, tensors);
  if (set instanceof Refusal) return set;
  return {
    id,
    rows: set.rows,
    bucket: set.bucket,
    inputs: set.inputs,
    payload: set.payload,
    outputs,
    timeoutMs: parameters.timeoutMs,
    priority: 0,
  };
}

function readInputs(
  given: readonly unknown[],
  model: ModelDescription,
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
    const tensor = readInput(input, spec, model);
    if (tensor instanceof Refusal || tensor === NEEDS_EXACT) return tensor;
    tensors[at] = tensor;
  }
  if (given.length < specs.length) {
    const missing = specs.filter((_, at) => tensors[at] === undefined).map((spec) => quote(spec.name));
    return new Refusal("invalid_input", `missing input ${missing.join(", ")}`);
  }
  return tensors as Tensor[];
}

function readInput(
  input: Readonly<Record<string, unknown>>,
  spec: TensorSpec,
  model: ModelDescription,
): Tensor | Refusal | typeof NEEDS_EXACT {
  const { datatype, shape, data } = input;
  const parameters = input.parameters ?? undefined;
  if (parameters !== undefined) {
    const refusal = refuseTensorParameters(`input ${quote(spec.name)}`, parameters);
    if (refusal !== undefined) return refusal;
  }
  if (datatype !== spec.datatype) return datatypeFault(datatype, spec);
  if (!isShape(shape)) {
    return new Refusal(
      "invalid_shape",
      `input ${quote(spec.name)}: "shape" must be an array of sizes (integers, 0 or more)`,
    );
  }
  const refusal = checkShape(model, spec, shape);
  if (refusal !== undefined) return refusal;
  if (!Array.isArray(data)) {
    const given = data === undefined ? "has no data" : `has data that is ${describe(data)}`;
    return new Refusal("invalid_input", `input ${quote(spec.name)} ${given}; an array is expected`);
  }
  const bytes = encodeData({ name: spec.name, datatype: spec.datatype, shape }, data);
  if (bytes instanceof Refusal || bytes === NEEDS_EXACT) return bytes;
  return { name: spec.name, datatype: spec.datatype, shape, data: bytes };
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

function readOutputs(given: unknown, model: ModelDescription): readonly string[] | Refusal {
  if (given === undefined) return [];
  if (!Array.isArray(given)) {
    return new Refusal("invalid_request", `"outputs" must be an array, it is ${describe(given)}`);
  }
  const names: string[] = [];
  for (const output of given as readonly unknown[]) {
    if (!isObject(output) || typeof output.name !== "string") {
      return new Refusal("invalid_request", `outputs[${names.length}] must be an object with a "name"`);
    }
    const { name } = output;
    const parameters = output.parameters ?? undefined;
    if (!model.outputs.some((spec) => spec.name === name)) return unknownName("output", name, model.outputs);
    if (names.includes(name)) return new Refusal("invalid_request", `output ${quote(name)} is asked for twice`);
    if (parameters !== undefined) {
      const refusal = refuseTensorParameters(`output ${quote(name)}`, parameters);
      if (refusal !== undefined) return refusal;
    }
    names.push(name);
  }
  return names;
}

function unknownName(kind: "input" | "output", name: string, specs: readonly TensorSpec[]): Refusal {
  const known = specs.slice(0, 16).map((spec) => quote(spec.name));
  const code = kind === "input" ? "invalid_input" : "invalid_request";
  return new Refusal(code, `unknown ${kind} ${quote(name)}; the model's ${kind}s are ${known.join(", ")}`);
}

/** Parameters of one tensor: all that the protocol knows ask for features that are missing here. */
function refuseTensorParameters(where: string, parameters: unknown): Refusal | undefined {
  if (!isObject(parameters)) {
    return new Refusal("invalid_request", `${where}: "parameters" must be an object, it is ${describe(parameters)}`);
  }
  for (const key of Object.keys(parameters)) {
    // What a client says to switch binary form off is granted.
    if (key === "binary_data" && parameters[key] === false) continue;
    return new Refusal("unsupported", `${where}: parameter ${quote(key)} is not supported`);
  }
  return undefined;
}

type Parameters = { readonly timeoutMs: number };

const NO_PARAMETERS: Parameters = { timeoutMs: 0 };

function readParameters(given: unknown): Parameters | Refusal {
  if (given === undefined) return NO_PARAMETERS;
  if (!isObject(given)) {
    return new Refusal("invalid_request", `"parameters" must be an object, it is ${describe(given)}`);
  }
  let { timeoutMs } = NO_PARAMETERS;
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
      else if (value > 0) return new Refusal("unsupported", `parameter "priority" is not supported; 0 is`);
    } else if (key.startsWith("triton_")) {
      return new Refusal("invalid_request", `parameter ${quote(key)}: names that start with "triton_" are reserved`);
    } else if (key !== "binary_data_output" || value !== false) {
      return new Refusal("unsupported", `parameter ${quote(key)} is not supported`);
    }
  }
  return { timeoutMs };
}

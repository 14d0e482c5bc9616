import type { ModelDescription } from "@millrace/protocol";
import { isObject } from "./json-body.ts";
import { refuseBytesOnly, refuseBytesOnlyOutputs } from "./json-outputs.ts";
import { describe, quote, Refusal } from "../http/refusal.ts";
import { unknownName } from "./tensor-names.ts";

/** How a client wants one output. */
export type OutputForm = {
  /** As bytes behind the JSON. */
  readonly isBinary: boolean;
  /** So many of the highest values of each row with their positions, in place of the values; 0 = the values. */
  readonly classes: number;
};

export const JSON_FORM: OutputForm = { isBinary: false, classes: 0 };
export const BINARY_FORM: OutputForm = { isBinary: true, classes: 0 };

/** What a client asks for: names, each once, and the form of each; none = all outputs, in the form of `rest`. */
export type OutputChoice = {
  readonly names: readonly string[];
  readonly forms: readonly OutputForm[];
  readonly rest: OutputForm;
};

const ALL_JSON_OUTPUTS: OutputChoice = { names: [], forms: [], rest: JSON_FORM };
const ALL_BINARY_OUTPUTS: OutputChoice = { names: [], forms: [], rest: BINARY_FORM };

/**
 * Reads "outputs" of a request; `isBinary` is the request's `binary_data_output`, which holds for outputs that say nothing (as
 * the extension's text has it; Triton's code answers those in JSON). Refuses what cannot travel in the form that is asked for.
 */
export function readOutputs(given: unknown, model: ModelDescription, isBinary: boolean): OutputChoice | Refusal {
  const all = isBinary ? ALL_BINARY_OUTPUTS : ALL_JSON_OUTPUTS;
  if (given === undefined) return (isBinary ? undefined : refuseBytesOnlyOutputs(model)) ?? all;
  if (!Array.isArray(given)) {
    return new Refusal("invalid_request", `"outputs" must be an array, it is ${describe(given)}`);
  }
  const names: string[] = [];
  const forms: OutputForm[] = [];
  for (const output of given as readonly unknown[]) {
    if (!isObject(output) || typeof output.name !== "string") {
      return new Refusal("invalid_request", `outputs[${names.length}] must be an object with a "name"`);
    }
    const { name } = output;
    const spec = model.outputs.find((one) => one.name === name);
    if (spec === undefined) return unknownName("output", name, model.outputs);
    if (names.includes(name)) return new Refusal("invalid_request", `output ${quote(name)} is asked for twice`);
    const parameters = output.parameters ?? undefined;
    const form = parameters === undefined ? all.rest : readForm(name, parameters, all.rest);
    if (form instanceof Refusal) return form;
    const refusal = form.isBinary || form.classes > 0 ? undefined : refuseBytesOnly(spec);
    if (refusal !== undefined) return refusal;
    names.push(name);
    forms.push(form);
  }
  const refusal = names.length > 0 || isBinary ? undefined : refuseBytesOnlyOutputs(model);
  return refusal ?? { names, forms, rest: all.rest };
}

function readForm(name: string, parameters: unknown, rest: OutputForm): OutputForm | Refusal {
  const where = `output ${quote(name)}`;
  if (!isObject(parameters)) {
    return new Refusal("invalid_request", `${where}: "parameters" must be an object, it is ${describe(parameters)}`);
  }
  let { isBinary, classes } = rest;
  for (const key of Object.keys(parameters)) {
    const value = parameters[key];
    if (key === "binary_data") {
      if (typeof value !== "boolean") {
        const text = `${where}: parameter "binary_data" must be true or false, it is ${describe(value)}`;
        return new Refusal("invalid_request", text);
      }
      isBinary = value;
    } else if (key === "classification") {
      if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
        const text = `${where}: parameter "classification" must be a number of classes, 0 or more, it is ${describe(value)}`;
        return new Refusal("invalid_request", text);
      }
      classes = value;
    } else return new Refusal("unsupported", `${where}: parameter ${quote(key)} is not supported`);
  }
  if (classes > 0) return { isBinary, classes };
  return isBinary ? BINARY_FORM : JSON_FORM;
}

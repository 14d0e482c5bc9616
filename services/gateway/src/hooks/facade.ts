import { FREE, type ModelDescription, type Tensor, type TensorSpec } from "@millrace/protocol";
import { assembleInputs, checkShape, type InputSet, isOptional } from "../forms/input-set.ts";
import { isObject } from "../forms/json-body.ts";
import { quote, Refusal } from "../http/refusal.ts";
import { fromHookTensors } from "./hook-tensor.ts";
import type { Hooks } from "./hook-module.ts";

/**
 * The model as its clients see it: with the inputs and outputs that its hooks tell in place of its own. A model whose hooks cannot be
 * used has failed: answers without them would be wrong ones. Pure.
 *
 * `hooks`: those of its name, or why they cannot be used.
 */
export function facadeOf(model: ModelDescription, hooks: Hooks | string): ModelDescription {
  if (model.state !== "ready") return model;
  const fault = typeof hooks === "string" ? hooks : signatureFault(model, hooks);
  if (fault !== "" || typeof hooks === "string") {
    return { ...model, state: "failed", reason: `its hooks cannot be used: ${fault}` };
  }
  const facade = { ...model, outputs: hooks.outputs ?? model.outputs };
  // What bounds and pads the model's own inputs says nothing of others.
  const ofOthers = { maxBatchElements: 0, axes: [], optionalInputs: [] };
  return hooks.inputs === undefined ? facade : { ...facade, ...ofOthers, inputs: hooks.inputs };
}

function signatureFault({ batching }: ModelDescription, { inputs = [], outputs = [] }: Hooks): string {
  if (!batching) return "";
  const wrong = [...inputs, ...outputs].find(({ shape }) => shape[0] !== FREE);
  return wrong === undefined ? "" : `the first dimension of ${quote(wrong.name)} must be -1, as the model batches`;
}

/** What `preprocess` has given, as inputs of the model; or what is wrong with it, for the hook's author. */
export function readModelInputs(model: ModelDescription, given: unknown): InputSet | string {
  const specs = model.inputs.filter(
    ({ name }, at) => !isOptional(model, at) || (isObject(given) && Object.hasOwn(given, name)),
  );
  const tensors = fromHookTensors(specs, given);
  if (typeof tensors === "string") return tensors;
  for (const [i, tensor] of tensors.entries()) {
    const refusal = checkShape(model, specs[i]!, tensor.shape);
    if (refusal !== undefined) return refusal.message;
  }
  const set = assembleInputs(model, tensors);
  return set instanceof Refusal ? set.message : set;
}

/** What `postprocess` has given, as outputs of the facade with so many rows; or what is wrong with it, for the hook's author. */
export function readClientOutputs(
  { batching, outputs }: { readonly batching: boolean; readonly outputs: readonly TensorSpec[] },
  given: unknown,
  rows: number,
): readonly Tensor[] | string {
  const tensors = fromHookTensors(outputs, given);
  if (typeof tensors === "string" || !batching) return tensors;
  const wrong = tensors.find(({ shape }) => shape[0] !== rows);
  return wrong === undefined ? tensors : `${quote(wrong.name)} has ${wrong.shape[0]} rows, the request has ${rows}`;
}

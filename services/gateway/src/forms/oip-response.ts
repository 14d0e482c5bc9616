import { elementCount, type ModelDescription, type Tensor } from "@millrace/protocol";
import { type BinaryAnswer, binaryAnswer } from "./binary-body.ts";
import { classify } from "./classification.ts";
import { flatText, jsonBytesAbout } from "./json-text.ts";
import type { OutputChoice, OutputForm } from "./oip-outputs.ts";
import { quote, Refusal } from "../http/refusal.ts";

/** The parts of a model's answers that never change, as JSON text; made once a description. */
type Template = { readonly head: string; readonly outputs: ReadonlyMap<string, string> };

const templates = new WeakMap<ModelDescription, Template>();

function templateOf(model: ModelDescription): Template {
  const known = templates.get(model);
  if (known !== undefined) return known;
  const template = {
    head: `"model_name":${JSON.stringify(model.name)},"model_version":${JSON.stringify(model.version)},"outputs":[`,
    outputs: new Map(model.outputs.map((spec) => [spec.name, headOf(spec)])),
  };
  templates.set(model, template);
  return template;
}

function headOf({ name, datatype }: Pick<Tensor, "name" | "datatype">): string {
  return `{"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[`;
}

/**
 * An inference answer of the Open Inference Protocol V2: JSON text, with flat data, which all clients read; or, where an output is
 * asked for as bytes and has any, JSON and bytes behind it, which are borrowed from `outputs`. The outputs come in the order in
 * which they were asked for, or in the model's. Refuses with `output_not_json` what JSON cannot carry, with `unsupported` an
 * output that has no classes, and with `internal` an answer that lacks an output.
 */
export function oipResponse(
  model: ModelDescription,
  outputs: readonly Tensor[],
  request: { readonly id: string; readonly choice: OutputChoice },
): string | BinaryAnswer | Refusal {
  const template = templateOf(model);
  const { names, forms, rest } = request.choice;
  let blobs: Uint8Array[] | undefined;
  let text = request.id === "" ? `{${template.head}` : `{"id":${JSON.stringify(request.id)},${template.head}`;
  const count = names.length === 0 ? model.outputs.length : names.length;
  for (let i = 0; i < count; i++) {
    const name = names.length === 0 ? model.outputs[i]!.name : names[i]!;
    const form = forms[i] ?? rest;
    const tensor = formed(outputNamed(outputs, name, i), form, model);
    if (tensor instanceof Refusal) return tensor;
    const head = form.classes === 0 ? template.outputs.get(name) : headOf(tensor);
    text += `${i === 0 ? "" : ","}${head}${tensor.shape.join(",")}],`;
    if (form.isBinary) {
      const { data } = tensor;
      text += `"parameters":{"binary_data_size":${data.byteLength}}}`;
      if (data.byteLength > 0) (blobs ??= []).push(data);
      continue;
    }
    const values = flatText(tensor);
    if (values instanceof Refusal) return values;
    text += `"data":${values}}`;
  }
  text += "]}";
  return blobs === undefined ? text : binaryAnswer(text, blobs);
}

/** About how many bytes of JSON `oipResponse` writes: see `jsonBytesAbout`. Of an output's classes only the search counts. */
export function oipJsonBytesAbout(
  outputs: readonly Tensor[],
  { choice: { names, forms, rest } }: { readonly choice: OutputChoice },
): number {
  let bytes = 0;
  for (const [i, tensor] of outputs.entries()) {
    const at = names.length === 0 ? i : names.indexOf(tensor.name);
    const form = forms[at] ?? rest;
    if (form.classes > 0) bytes += elementCount(tensor.shape);
    else if (!form.isBinary) bytes += jsonBytesAbout(tensor);
  }
  return bytes;
}

function formed(tensor: Tensor | Refusal, { classes }: OutputForm, model: ModelDescription): Tensor | Refusal {
  return tensor instanceof Refusal || classes === 0 ? tensor : classify(tensor, classes, model.batching);
}

/** The output of that name, which mostly stands at `likely`; `internal` where the answer lacks it. */
export function outputNamed(outputs: readonly Tensor[], name: string, likely: number): Tensor | Refusal {
  const tensor = outputs[likely]?.name === name ? outputs[likely] : outputs.find((output) => output.name === name);
  return tensor ?? new Refusal("internal", `the answer lacks output ${quote(name)}`);
}

import type { ModelDescription, Tensor } from "@millrace/protocol";
import { flatText } from "./json-text.ts";
import { quote, Refusal } from "./refusal.ts";

/** The parts of a model's answers that never change, as JSON text; made once a description. */
type Template = { readonly head: string; readonly outputs: ReadonlyMap<string, string> };

const templates = new WeakMap<ModelDescription, Template>();

function templateOf(model: ModelDescription): Template {
  const known = templates.get(model);
  if (known !== undefined) return known;
  const template = {
    head: `"model_name":${JSON.stringify(model.name)},"model_version":${JSON.stringify(model.version)},"outputs":[`,
    outputs: new Map(
      model.outputs.map(({ name, datatype }) => [
        name,
        `{"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[`,
      ]),
    ),
  };
  templates.set(model, template);
  return template;
}

/**
 * The JSON form of an inference answer of the Open Inference Protocol V2, with flat data, which all clients read. The outputs
 * come in the order of `asked`, or in the model's where that is empty. Refuses with `output_not_json` what JSON cannot carry,
 * and with `internal` an answer that lacks an output.
 */
export function oipResponseText(
  model: ModelDescription,
  outputs: readonly Tensor[],
  request: { readonly id: string; readonly outputs: readonly string[] },
): string | Refusal {
  const template = templateOf(model);
  let text = request.id === "" ? `{${template.head}` : `{"id":${JSON.stringify(request.id)},${template.head}`;
  const count = request.outputs.length === 0 ? model.outputs.length : request.outputs.length;
  for (let i = 0; i < count; i++) {
    const name = request.outputs.length === 0 ? model.outputs[i]!.name : request.outputs[i]!;
    const tensor = outputNamed(outputs, name, i);
    if (tensor instanceof Refusal) return tensor;
    const data = flatText(tensor);
    if (data instanceof Refusal) return data;
    text += `${i === 0 ? "" : ","}${template.outputs.get(name) ?? ""}${tensor.shape.join(",")}],"data":${data}}`;
  }
  return `${text}]}`;
}

/** The output of that name, which mostly stands at `likely`; `internal` where the answer lacks it. */
export function outputNamed(outputs: readonly Tensor[], name: string, likely: number): Tensor | Refusal {
  const tensor = outputs[likely]?.name === name ? outputs[likely] : outputs.find((output) => output.name === name);
  return tensor ?? new Refusal("internal", `the answer lacks output ${quote(name)}`);
}

import { DATATYPES, type ModelDescription, type TensorSpec } from "@millrace/protocol";
import { quote, Refusal } from "../http/refusal.ts";

/** Refuses with `invalid_datatype` an output that is asked for in JSON and travels as bytes only; said before the run, which would be for nothing. */
export function refuseBytesOnly({ name, datatype }: TensorSpec): Refusal | undefined {
  if (DATATYPES[datatype].json) return undefined;
  const where = `output ${quote(name)} is ${datatype}, which JSON cannot carry`;
  return new Refusal(
    "invalid_datatype",
    `${where}: ask for it as bytes, with "parameters": {"binary_data": true}, at /v2/models/NAME/infer`,
  );
}

/** The same for all outputs of a model. */
export function refuseBytesOnlyOutputs({ outputs }: ModelDescription): Refusal | undefined {
  const spec = outputs.find((one) => !DATATYPES[one.datatype].json);
  return spec === undefined ? undefined : refuseBytesOnly(spec);
}

import type { TensorSpec } from "@millrace/protocol";
import { quote, Refusal } from "../http/refusal.ts";

/** Names that an error message lists at most. */
const LISTED_NAMES_MAX = 16;

/** The refusal of a tensor that the model does not have; it names those that it has. */
export function unknownName(kind: "input" | "output", name: string, specs: readonly TensorSpec[]): Refusal {
  const known = specs.slice(0, LISTED_NAMES_MAX).map((spec) => quote(spec.name));
  const code = kind === "input" ? "invalid_input" : "invalid_request";
  return new Refusal(code, `unknown ${kind} ${quote(name)}; the model's ${kind}s are ${known.join(", ")}`);
}

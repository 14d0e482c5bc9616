import type { ModelDescription } from "@millrace/protocol";
import type { Inference } from "../broker/inference.ts";
import { quote, Refusal } from "../http/refusal.ts";

/** Names that an error message lists at most. */
const LISTED_NAMES_MAX = 16;

/**
 * The model that a request asks for, if it can take requests now: else `model_not_found`, `model_not_ready` (with its reason)
 * or `unavailable` (no worker serves it, or no model is known at all yet). version "" = the default.
 */
export function findServing(inference: Inference, name: string, version: string): ModelDescription | Refusal {
  const known = findModel(inference, name, version);
  if (known instanceof Refusal) return known;
  const { model, workers } = known;
  if (model.state !== "ready") return notReady(model);
  if (workers > 0) return model;
  return new Refusal("unavailable", `no worker serves model ${quote(name)} version ${quote(model.version)}`);
}

/** What is known of a model, able to serve or not; else `model_not_found`, or `unavailable` where nothing can be known yet. */
export function findModel(
  inference: Inference,
  name: string,
  version: string,
): { readonly model: ModelDescription; readonly workers: number } | Refusal {
  const known = inference.models.find(name, version);
  if (known !== undefined) return known;
  if (inference.unreadyReason() !== "" || inference.models.list().length === 0) return unknowable(inference);
  const isKnown = version !== "" && inference.models.find(name) !== undefined;
  return new Refusal(
    "model_not_found",
    isKnown ? `model ${quote(name)} has no version ${quote(version)}` : `no model ${quote(name)}`,
  );
}

/**
 * The refusal where nobody can say which models there are: no broker tells, or no worker has told it of any, because the first one
 * still loads them. A 404 would tell clients to give up.
 */
function unknowable(inference: Inference): Refusal {
  const reason = inference.unreadyReason();
  const text = reason === "" ? "no worker has told of a model yet" : `the gateway is not ready: ${reason}`;
  return new Refusal("unavailable", text);
}

/** The refusal of a model that is there and does not serve. */
export function notReady({ name, version, state, reason }: ModelDescription): Refusal {
  const why = state === "loading" ? "is loading" : `cannot serve: ${reason}`;
  return new Refusal("model_not_ready", `model ${quote(name)} version ${quote(version)} ${why}`);
}

/** The model of a request that names none: the configured default, else the only one; else `invalid_request` names the choices. */
export function chooseModelName(inference: Inference, defaultModel: string): string | Refusal {
  if (defaultModel !== "") return defaultModel;
  const names = [...new Set(inference.models.list().map(({ model }) => model.name))];
  const [only] = names;
  if (only === undefined) return unknowable(inference);
  if (names.length === 1) return only;
  const listed = names.toSorted().slice(0, LISTED_NAMES_MAX).map(quote).join(", ");
  const more = names.length > LISTED_NAMES_MAX ? ` and ${names.length - LISTED_NAMES_MAX} more` : "";
  return new Refusal("invalid_request", `name a model, as in POST /predict/NAME: ${listed}${more}`);
}

import { compareVersions, type ModelDescription } from "@millrace/protocol";
import { sendRefusal } from "../http/error-response.ts";
import type { Exchange } from "../http/exchange.ts";
import type { Inference, ModelEntry } from "../broker/inference.ts";
import { findModel } from "./model-choice.ts";
import { quote, Refusal } from "../http/refusal.ts";

/** What can be done with a model there, and not here. */
const UNSUPPORTED_VERBS: readonly string[] = ["classify", "regress"];

/**
 * The name before `:predict` in the last part of a path, a model's or a version's; `unsupported` for other verbs that TensorFlow
 * Serving has, else `not_found`.
 */
export function nameBeforePredict(part: string): string | Refusal {
  const at = part.lastIndexOf(":");
  const verb = at < 0 ? "" : part.slice(at + 1);
  if (verb === "predict") return part.slice(0, at);
  if (UNSUPPORTED_VERBS.includes(verb))
    return new Refusal("unsupported", `TensorFlow Serving's ${verb} is not supported`);
  return new Refusal("not_found", `no method ${quote(part)}; NAME:predict is one`);
}

/** `GET /v1/models/{m}[/versions/{v}]`: the state of each version, or of one; 404 where there is none. */
export function sendTfsStatus(exchange: Exchange, inference: Inference, at: { name: string; version: string }): void {
  const known = findModel(inference, at.name, at.version);
  if (known instanceof Refusal) return sendRefusal(exchange, known);
  const versions = inference.models
    .list()
    .filter(({ model: { name, version } }) => name === at.name && ["", version].includes(at.version))
    .toSorted((a, b) => compareVersions(b.model.version, a.model.version));
  exchange.send(200, [], JSON.stringify({ model_version_status: versions.map(statusOf) }));
}

const STATES: Readonly<Record<ModelDescription["state"], string>> = {
  loading: "LOADING",
  ready: "AVAILABLE",
  failed: "END",
};

function statusOf({ model, workers }: ModelEntry): object {
  const { version, state, reason } = model;
  const isIdle = state === "ready" && workers === 0;
  const fault = isIdle ? "no worker serves it" : reason;
  return {
    version,
    state: isIdle ? "END" : STATES[state],
    status: { error_code: fault === "" ? "OK" : "UNAVAILABLE", error_message: fault },
  };
}

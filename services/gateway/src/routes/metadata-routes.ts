import { compareVersions, type TensorSpec } from "@millrace/protocol";
import { sendRefusal } from "../http/error-response.ts";
import type { Exchange } from "../http/exchange.ts";
import type { Inference, ModelEntry } from "../broker/inference.ts";
import { buildFromJson, isObject, textOf } from "../forms/json-body.ts";
import { findModel, notReady } from "./model-choice.ts";
import { modelConfig } from "./model-config.ts";
import { describe, Refusal } from "../http/refusal.ts";
import { sendStatistics } from "./statistics-routes.ts";

/** Extensions of the protocol that exist here as a whole; of `model_repository` there is the index alone. */
const EXTENSIONS: readonly string[] = [
  "binary_tensor_data",
  "classification",
  "model_configuration",
  "schedule_policy",
  "statistics",
];

/** `GET /v2`: name, version and extensions of the server. */
export function sendServerMetadata(exchange: Exchange, version: string): void {
  exchange.send(200, [], JSON.stringify({ name: "millrace", version, extensions: EXTENSIONS }));
}

/**
 * `GET /v2/models/{m}[/versions/{v}]`: what the model takes and gives; -1 stands for a dimension of any size. `versions` are all
 * that are known, or the one that the path names. 404 if it is not known, 503 if it is not ready (its tensors are then unknown).
 */
export function sendModelMetadata(
  exchange: Exchange,
  inference: Inference,
  at: { name: string; version: string },
): void {
  const known = findModel(inference, at.name, at.version);
  if (known instanceof Refusal) {
    // The protocol's path for the statistics of all models is this route's path for a model of that name.
    const isStatistics = at.name === "stats" && at.version === "" && known.code === "model_not_found";
    return isStatistics ? sendStatistics(exchange, inference, undefined) : sendRefusal(exchange, known);
  }
  const { model } = known;
  if (model.state !== "ready") return sendRefusal(exchange, notReady(model));
  const versions = at.version === "" ? versionsOf(inference, model.name) : [model.version];
  const metadata = {
    name: model.name,
    versions,
    platform: model.platform,
    inputs: model.inputs.map(tensorMetadata),
    outputs: model.outputs.map(tensorMetadata),
  };
  exchange.send(200, [], JSON.stringify(metadata));
}

/** `GET /v2/models/{m}[/versions/{v}]/config`; 404 and 503 as for the metadata. */
export function sendModelConfig(exchange: Exchange, inference: Inference, at: { name: string; version: string }): void {
  const known = findModel(inference, at.name, at.version);
  if (known instanceof Refusal) return sendRefusal(exchange, known);
  const { model } = known;
  if (model.state !== "ready") return sendRefusal(exchange, notReady(model));
  exchange.send(200, [], JSON.stringify(modelConfig(model)));
}

function tensorMetadata({ name, datatype, shape }: TensorSpec): {
  name: string;
  datatype: string;
  shape: readonly number[];
} {
  return { name, datatype, shape };
}

function versionsOf(inference: Inference, name: string): readonly string[] {
  return inference.models
    .list()
    .filter(({ model }) => model.name === name)
    .map(({ model }) => model.version)
    .toSorted(compareVersions);
}

/** Bytes of a request for the index; it holds one flag. */
const INDEX_BYTES_MAX = 64 * 1024;

/**
 * `POST /v2/repository/index`: every model version with its state, READY, LOADING or UNAVAILABLE, and why it is not ready. The body
 * is empty or `{"ready": true}` for the ready ones only.
 */
export function sendRepositoryIndex(exchange: Exchange, inference: Inference): void {
  exchange.readBody(INDEX_BYTES_MAX, (body) => {
    const onlyReady = body instanceof Refusal ? body : readIndexRequest(body);
    if (onlyReady instanceof Refusal) return sendRefusal(exchange, onlyReady);
    const items = inference.models
      .list()
      .map(indexItem)
      .filter((item) => !onlyReady || item.state === "READY")
      .toSorted((a, b) => (a.name === b.name ? compareVersions(a.version, b.version) : a.name < b.name ? -1 : 1));
    exchange.send(200, [], JSON.stringify(items));
  });
}

type IndexItem = {
  readonly name: string;
  readonly version: string;
  readonly state: "READY" | "LOADING" | "UNAVAILABLE";
  readonly reason: string;
};

function indexItem({ model, workers }: ModelEntry): IndexItem {
  const { name, version } = model;
  if (model.state === "loading") return { name, version, state: "LOADING", reason: "" };
  if (model.state === "failed") return { name, version, state: "UNAVAILABLE", reason: model.reason };
  if (workers === 0) return { name, version, state: "UNAVAILABLE", reason: "no worker serves it" };
  return { name, version, state: "READY", reason: "" };
}

function readIndexRequest(body: Buffer): boolean | Refusal {
  if (body.byteLength === 0) return false;
  const text = textOf(body);
  if (text instanceof Refusal) return text;
  return buildFromJson(text, undefined, (root) => {
    if (!isObject(root))
      return new Refusal("invalid_request", `the body must be a JSON object, it is ${describe(root)}`);
    const ready = root.ready ?? false;
    return typeof ready === "boolean" ? ready : new Refusal("invalid_request", `"ready" must be true or false`);
  });
}

import { LIMITS, type ModelDescription } from "@millrace/protocol";
import type { RepositoryModel } from "./repository.ts";
import type { LoadedModel } from "./runner.ts";

/** How far a model of the repository has come: being loaded, loaded, or broken with a reason. */
export type LoadOutcome =
  | { readonly state: "loading" }
  | { readonly state: "ready"; readonly loaded: LoadedModel }
  | { readonly state: "failed"; readonly reason: string };

/** What the worker tells the broker of a model version. A model that the repository holds for broken stays `failed`. */
export function describeModel(model: RepositoryModel, outcome: LoadOutcome): ModelDescription {
  const { name, version, digest, manifest } = model;
  const about = {
    name,
    version,
    digest,
    timeoutMs: manifest.timeoutMs,
    sloMs: manifest.sloMs,
    maxHoldMs: manifest.maxHoldMs,
    share: manifest.share,
  };
  const platform = manifest.simulated === undefined ? "onnxruntime_onnx" : "simulated";
  const runs = { batching: false, maxBatchSize: 1, maxRequestRows: 1, maxBatchElements: 0 };
  const unknown = { ...runs, inputs: [], outputs: [], axes: [], optionalInputs: [] };
  if (model.state === "failed") return { ...about, platform, ...unknown, state: "failed", reason: clip(model.reason) };
  switch (outcome.state) {
    case "loading":
      return { ...about, platform, ...unknown, state: "loading", reason: "" };
    case "failed":
      return { ...about, platform, ...unknown, state: "failed", reason: clip(outcome.reason) };
    case "ready": {
      const { batching, maxBatchSize, inputs, outputs, padding } = outcome.loaded;
      const maxRequestRows = batching ? manifest.maxRequestRows : 1;
      const { maxBatchElements } = manifest;
      const limits = { batching, maxBatchSize, maxRequestRows, maxBatchElements };
      const axes = padding?.axes.map((axis) => ({ sizes: axis.sizes, inputs: axis.inputs })) ?? [];
      const tensors = { inputs, outputs, axes, optionalInputs: padding?.masks ?? [] };
      return { ...about, ...limits, ...tensors, platform, state: "ready", reason: "" };
    }
  }
}

/** Cuts a text at the wire's limit, between characters. */
function clip(text: string): string {
  if (Buffer.byteLength(text) <= LIMITS.textBytes) return text;
  return `${Buffer.from(text)
    .subarray(0, LIMITS.textBytes - 4)
    .toString("utf8")
    .replace(/\uFFFD+$/, "")}…`;
}

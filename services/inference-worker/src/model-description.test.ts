import { expect, test } from "vitest";
import { parseManifest } from "./manifest.ts";
import { describeModel } from "./model-description.ts";
import type { RepositoryModel } from "./repository.ts";
import type { LoadedModel } from "./runner.ts";

const place = {
  name: "iris",
  version: "2",
  path: "iris/2",
  digest: "ab12",
  manifest: parseManifest("timeout_ms: 800\nmax_batch_elements: 4096"),
};
const found: RepositoryModel = {
  ...place,
  state: "found",
  source: { platform: "onnxruntime_onnx", path: "models/iris/2/model.onnx" },
};
const loaded: LoadedModel = {
  inputs: [{ name: "x", datatype: "FP32", shape: [-1, 4] }],
  outputs: [{ name: "y", datatype: "INT64", shape: [-1] }],
  batching: true,
  batchingReason: "",
  maxBatchSize: 64,
  padding: {
    axes: [{ sizes: [4, 8], inputs: [{ tensor: 0, dimension: 1 }], outputs: [{ tensor: 0, dimension: 0 }] }],
    masks: [0],
    fills: [new Uint8Array(4)],
  },
  paddingReason: "",
  buckets: [],
  memoryBytes: 1,
  warmUpRuns: [],
};

test("a model is described as far as it has come", () => {
  const about = {
    name: "iris",
    version: "2",
    platform: "onnxruntime_onnx",
    digest: "ab12",
    timeoutMs: 800,
    sloMs: 0,
    maxHoldMs: 100,
    share: 1,
  };
  const unknown = {
    batching: false,
    maxBatchSize: 1,
    maxRequestRows: 1,
    maxBatchElements: 0,
    inputs: [],
    outputs: [],
    axes: [],
    optionalInputs: [],
  };
  expect(describeModel(found, { state: "loading" })).toEqual({ ...about, ...unknown, state: "loading", reason: "" });
  expect(describeModel(found, { state: "ready", loaded })).toEqual({
    ...about,
    state: "ready",
    reason: "",
    batching: true,
    maxBatchSize: 64,
    maxRequestRows: 2048,
    maxBatchElements: 4096,
    axes: [{ sizes: [4, 8], inputs: [{ tensor: 0, dimension: 1 }] }],
    optionalInputs: [0],
    inputs: loaded.inputs,
    outputs: loaded.outputs,
  });
  expect(describeModel(found, { state: "failed", reason: "too big" })).toEqual({
    ...about,
    ...unknown,
    state: "failed",
    reason: "too big",
  });
});

test("what the repository holds for broken stays broken; a long reason is cut between characters", () => {
  const broken: RepositoryModel = { ...place, state: "failed", reason: "ä".repeat(2000) };
  const { state, reason } = describeModel(broken, { state: "ready", loaded });
  expect(state).toBe("failed");
  expect(reason).toMatch(/^ä+…$/);
  expect(Buffer.byteLength(reason)).toBeLessThanOrEqual(1024);
  expect(Buffer.byteLength(reason)).toBeGreaterThan(1000);
});

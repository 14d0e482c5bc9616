import type { Content } from "../message.ts";

/** A model that doubles two numbers: x [batch, 2] → y [batch, 2]. */
export const doubler: Content<"ROUTES">["models"][number]["model"] = {
  name: "double",
  version: "1",
  state: "ready",
  reason: "",
  platform: "simulated",
  digest: "",
  batching: true,
  maxBatchSize: 64,
  timeoutMs: 0,
  sloMs: 50,
  maxHoldMs: 10,
  maxRequestRows: 1024,
  share: 1,
  maxBatchElements: 4096,
  axes: [{ sizes: [16, 512], inputs: [{ tensor: 0, dimension: 1 }] }],
  optionalInputs: [],
  inputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
  outputs: [{ name: "y", datatype: "FP32", shape: [-1, 2] }],
};

/** A model that cannot serve, with every text that a description may hold. */
export const broken: typeof doubler = {
  ...doubler,
  name: "größer",
  version: "12",
  state: "failed",
  reason: "model.onnx: not an ONNX file",
  platform: "onnxruntime_onnx",
  digest: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  batching: false,
  maxBatchSize: 1,
  timeoutMs: 30_000,
  sloMs: 0,
  maxHoldMs: 0,
  maxRequestRows: 1,
  share: 1,
  maxBatchElements: 0,
  axes: [],
  optionalInputs: [1],
  inputs: [],
  outputs: [],
};

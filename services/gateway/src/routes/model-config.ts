import type { Datatype, ModelDescription, TensorSpec } from "@millrace/protocol";
import { isOptional } from "../forms/input-set.ts";

/**
 * A model's configuration as Triton's clients read it: what perf_analyzer needs, and nothing made up. Pure.
 * Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_configuration.md, ModelConfig in
 * https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto.
 */
export function modelConfig(model: ModelDescription): object {
  const { name, platform, batching, maxBatchSize, inputs, outputs } = model;
  return {
    name,
    platform,
    backend: platform === "onnxruntime_onnx" ? "onnxruntime" : platform,
    // 0: the first dimension is not the batch.
    max_batch_size: batching ? maxBatchSize : 0,
    input: inputs.map((spec, position) => ({
      ...tensorConfig(spec, batching),
      ...(isOptional(model, position) ? { optional: true } : {}),
    })),
    output: outputs.map((spec) => tensorConfig(spec, batching)),
    ...(batching ? { dynamic_batching: {} } : {}),
  };
}

/** `dims` are without the batch, and never empty: a row of one element is [1], reshaped. */
function tensorConfig({ name, datatype, shape }: TensorSpec, batching: boolean): object {
  const dims = batching ? shape.slice(1) : shape;
  const data_type = `TYPE_${datatype === "BYTES" ? "STRING" : (datatype satisfies Datatype)}`;
  return dims.length > 0 ? { name, data_type, dims } : { name, data_type, dims: [1], reshape: { shape: [] } };
}

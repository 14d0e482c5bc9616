import type { OnnxModel } from "../tests/support/onnx-model.ts";
import { SeededRandom } from "../tests/support/seeded-random.ts";

const POOLED = 3 * 7 * 7;

/**
 * A model that is next to nothing behind a large input: `image` FP32 [batch, 3, 224, 224] (602,112 bytes a row), averaged over
 * squares of 32 × 32 and multiplied down to `output` FP32 [batch, 10]. What it costs is to bring the tensor there.
 */
export function imageModel(): OnnxModel {
  const random = new SeededRandom(3);
  const weights = Float32Array.from({ length: POOLED * 10 }, () => random.next() * 2 - 1);
  return {
    name: "image",
    inputs: [{ name: "image", datatype: "FP32", shape: ["batch", 3, 224, 224] }],
    outputs: [{ name: "output", datatype: "FP32", shape: ["batch", 10] }],
    nodes: [
      {
        op: "AveragePool",
        inputs: ["image"],
        outputs: ["pooled"],
        attributes: { kernel_shape: { ints: [32, 32] }, strides: { ints: [32, 32] } },
      },
      { op: "Flatten", inputs: ["pooled"], outputs: ["flat"], attributes: { axis: { int: 1 } } },
      { op: "MatMul", inputs: ["flat", "weights"], outputs: ["output"] },
    ],
    initializers: [{ name: "weights", datatype: "FP32", shape: [POOLED, 10], data: weights }],
  };
}

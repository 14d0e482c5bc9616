import type { OnnxModel } from "../../tests/support/onnx-model.ts";

/** The weight of input element k in output element j, as the simulated device has it. */
const weight = (k: number, j: number): number => ((7 * k + 13 * j) % 11) - 5;

/** What the simulated device computes for `simulated/model.yaml`, as a real model: a witness for the checker. */
export function simulatedDeviceModel(): OnnxModel {
  return {
    name: "simulated",
    inputs: [{ name: "x", datatype: "FP32", shape: ["batch", 2] }],
    outputs: [{ name: "y", datatype: "FP32", shape: ["batch", 2] }],
    nodes: [{ op: "MatMul", inputs: ["x", "w"], outputs: ["y"] }],
    initializers: [
      { name: "w", datatype: "FP32", shape: [2, 2], data: [weight(0, 0), weight(0, 1), weight(1, 0), weight(1, 1)] },
    ],
  };
}

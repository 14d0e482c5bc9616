import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { OnnxModel } from "./onnx-model.ts";

/** A model on the simulated device: input `x` FP32 [batch, 2], output `y` FP32 [batch, 2]. */
export type SimulatedModel = {
  readonly name: string;
  /** How long a run takes, whatever its rows, in milliseconds. */
  readonly runMs: number;
  /** And for each row; default 0. */
  readonly rowMs?: number;
  /** Keys of model.yaml; their defaults hold where they are not given. */
  readonly timeoutMs?: number;
  readonly maxBatchSize?: number;
};

/** Writes it into a models folder. It batches without the check of rows, which would take more runs at start. */
export async function writeSimulatedModel(dir: string, model: SimulatedModel): Promise<void> {
  const { name, runMs, rowMs = 0, timeoutMs, maxBatchSize } = model;
  const manifest = {
    batching: true,
    platform: "simulated",
    ...(timeoutMs === undefined ? {} : { timeout_ms: timeoutMs }),
    ...(maxBatchSize === undefined ? {} : { max_batch_size: maxBatchSize }),
    simulated: {
      base_ms: runMs,
      row_ms: rowMs,
      inputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
      outputs: [{ name: "y", datatype: "FP32", shape: [-1, 2] }],
    },
  };
  await mkdir(join(dir, name), { recursive: true });
  // JSON is YAML.
  await writeFile(join(dir, name, "model.yaml"), JSON.stringify(manifest));
}

/**
 * An ONNX model that gives the answers which the simulated device is documented to give (docs/model-repository.md), for the
 * checker of rows: y(j) = Σ x(k) · ((7·k + 13·j) mod 11 − 5) is a product with a matrix.
 */
export function simulatedWitness(name: string): OnnxModel {
  const weights = [0, 1].flatMap((k) => [0, 1].map((j) => ((7 * k + 13 * j) % 11) - 5));
  return {
    name,
    inputs: [{ name: "x", datatype: "FP32", shape: ["batch", 2] }],
    outputs: [{ name: "y", datatype: "FP32", shape: ["batch", 2] }],
    nodes: [{ op: "MatMul", inputs: ["x", "weights"], outputs: ["y"] }],
    initializers: [{ name: "weights", datatype: "FP32", shape: [2, 2], data: weights }],
  };
}

/** The body of a request with so many rows. */
export function simulatedRequest(rows: number): string {
  const data = Array.from({ length: 2 * rows }, (_, i) => i);
  return JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [rows, 2], data }] });
}

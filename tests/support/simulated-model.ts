import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { OnnxModel, OnnxTensor } from "./onnx-model.ts";

/** A model on the simulated device: input `x` FP32 [batch, 2], or [batch, length], and output `y` FP32 [batch, 2]. */
export type SimulatedModel = {
  readonly name: string;
  /** How long a run takes, whatever its rows, in milliseconds. */
  readonly runMs: number;
  /** And for each row; default 0. */
  readonly rowMs?: number;
  /** Keys of model.yaml; their defaults hold where they are not given. */
  readonly timeoutMs?: number;
  readonly maxBatchSize?: number;
  readonly instances?: number;
  /** Rows of open length, padded with zeros to one of the sizes; and what an element costs, in milliseconds. */
  readonly lengths?: { readonly buckets: readonly number[]; readonly elementMs: number };
};

/** Writes it into a models folder. It batches without the check of rows, which would take more runs at start. */
export async function writeSimulatedModel(dir: string, model: SimulatedModel): Promise<void> {
  const { name, runMs, rowMs = 0, timeoutMs, maxBatchSize, instances, lengths } = model;
  const manifest = {
    batching: true,
    platform: "simulated",
    ...(timeoutMs === undefined ? {} : { timeout_ms: timeoutMs }),
    ...(maxBatchSize === undefined ? {} : { max_batch_size: maxBatchSize }),
    ...(instances === undefined ? {} : { instances }),
    ...(lengths === undefined ? {} : { buckets: [{ sizes: lengths.buckets, inputs: { x: 1 } }] }),
    simulated: {
      base_ms: runMs,
      row_ms: rowMs,
      ...(lengths === undefined ? {} : { element_ms: lengths.elementMs }),
      inputs: [{ name: "x", datatype: "FP32", shape: [-1, lengths === undefined ? 2 : -1] }],
      outputs: [{ name: "y", datatype: "FP32", shape: [-1, 2] }],
    },
  };
  await mkdir(join(dir, name), { recursive: true });
  // JSON is YAML.
  await writeFile(join(dir, name, "model.yaml"), JSON.stringify(manifest));
}

/**
 * An ONNX model that gives the answers which the simulated device is documented to give (docs/model-repository.md), for the
 * checker of rows: y(j) = Σ x(k) · ((7·k + 13·j) mod 11 − 5) is a product with a matrix. Rows have two elements, or any number up to
 * `lengthMax`: then the matrix is cut to it.
 */
export function simulatedWitness(name: string, lengthMax?: number): OnnxModel {
  const length = lengthMax ?? 2;
  const weights = Array.from({ length }, (_, k) => [0, 1].map((j) => ((7 * k + 13 * j) % 11) - 5)).flat();
  const table = { name: "weights", datatype: "FP32", shape: [length, 2], data: weights } as const;
  const at = (constant: string, value: number): OnnxTensor => ({
    name: constant,
    datatype: "INT64",
    shape: [1],
    data: [value],
  });
  return {
    name,
    inputs: [{ name: "x", datatype: "FP32", shape: ["batch", lengthMax === undefined ? 2 : "length"] }],
    outputs: [{ name: "y", datatype: "FP32", shape: ["batch", 2] }],
    nodes: [
      { op: "Shape", inputs: ["x"], outputs: ["shape"] },
      { op: "Slice", inputs: ["shape", "one", "two"], outputs: ["length"] },
      { op: "Slice", inputs: ["weights", "zero", "length", "zero"], outputs: ["cut"] },
      { op: "MatMul", inputs: ["x", "cut"], outputs: ["y"] },
    ],
    initializers: [table, at("zero", 0), at("one", 1), at("two", 2)],
  };
}

/** The body of a request with so many rows. */
export function simulatedRequest(rows: number): string {
  const data = Array.from({ length: 2 * rows }, (_, i) => i);
  return JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [rows, 2], data }] });
}

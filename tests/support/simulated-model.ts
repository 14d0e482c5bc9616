import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** A model on the simulated device: input `x` FP32 [batch, 2], output `y` FP32 [batch, 2]. */
export type SimulatedModel = {
  readonly name: string;
  /** How long a run takes, whatever its rows, in milliseconds. */
  readonly runMs: number;
};

/** Writes it into a models folder. It batches without the check of rows, which would take more runs at start. */
export async function writeSimulatedModel(dir: string, { name, runMs }: SimulatedModel): Promise<void> {
  const manifest = {
    batching: true,
    platform: "simulated",
    simulated: {
      base_ms: runMs,
      inputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
      outputs: [{ name: "y", datatype: "FP32", shape: [-1, 2] }],
    },
  };
  await mkdir(join(dir, name), { recursive: true });
  // JSON is YAML.
  await writeFile(join(dir, name, "model.yaml"), JSON.stringify(manifest));
}

/** The body of a request with so many rows. */
export function simulatedRequest(rows: number): string {
  const data = Array.from({ length: 2 * rows }, (_, i) => i);
  return JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [rows, 2], data }] });
}

import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DATATYPES, type Datatype } from "@millrace/protocol";
import { encodeOnnxModel } from "../support/onnx-model.ts";
import { ROOT } from "../support/repository.ts";
import { writeSimulatedModel } from "../support/simulated-model.ts";

/** How long a run of the model `slow` takes, in milliseconds. */
const SLOW_RUN_MS = 300;

/**
 * Fills a models folder: the bundled `digits`; `echo_DATATYPE` for each datatype but BF16, which onnxruntime for Node cannot carry, which gives its input `in` [batch, any] back as
 * `out`; `echo_mixed` with three of different type; `slow`, which takes 300 ms.
 */
export async function writeConformanceModels(dir: string): Promise<void> {
  await symlink(join(ROOT, "models", "digits"), join(dir, "digits"));
  for (const datatype of Object.keys(DATATYPES).filter((name) => name !== "BF16") as Datatype[]) {
    await writeEcho(dir, `echo_${datatype.toLowerCase()}`, { "": datatype });
  }
  await writeEcho(dir, "echo_mixed", { _number: "FP32", _integer: "INT64", _text: "BYTES" });
  await writeSimulatedModel(dir, { name: "slow", runMs: SLOW_RUN_MS, timeoutMs: 5_000 });
}

async function writeEcho(dir: string, name: string, tensors: Readonly<Record<string, Datatype>>): Promise<void> {
  const of = (prefix: string) =>
    Object.entries(tensors).map(([suffix, datatype]) => ({
      name: `${prefix}${suffix}`,
      datatype,
      shape: ["batch", `any${suffix}`],
    }));
  const nodes = Object.keys(tensors).map((suffix) => ({
    op: "Identity",
    inputs: [`in${suffix}`],
    outputs: [`out${suffix}`],
  }));
  await mkdir(join(dir, name, "1"), { recursive: true });
  const model = encodeOnnxModel({ name, inputs: of("in"), outputs: of("out"), nodes });
  await writeFile(join(dir, name, "1", "model.onnx"), model);
}

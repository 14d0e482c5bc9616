import { InferenceSession, Tensor } from "onnxruntime-node";
import type { LimitMeasurement } from "../results.ts";
import { serveModel } from "../workloads.ts";
import type { LimitOptions, LimitRow } from "./limits.ts";

const BATCHES = [1, 2, 4, 8, 16, 32, 64, 128] as const;
/** So long for each batch size and round: there are many. */
const SHARE_OF_MS = 0.1;

/** onnxruntime in this process, one thread, no server: rows a second at each batch size. */
export const onnxLimit: LimitRow = {
  name: "onnxruntime",
  title: "onnxruntime alone, one thread, by batch size",
  measure: async ({ rounds, ms, folder, signal, say }: LimitOptions) => {
    const measurements: LimitMeasurement[] = [];
    for (const name of ["small", "heavy"] as const) {
      const { file } = await serveModel(name, folder);
      const session = await InferenceSession.create(file, { intraOpNumThreads: 1, interOpNumThreads: 1 });
      for (let round = 0; round < rounds; round++) {
        for (const batch of BATCHES) {
          signal.throwIfAborted();
          const value = await rowsPerSecond(session, batch, ms * SHARE_OF_MS);
          measurements.push({
            limit: "onnxruntime",
            what: `${name}, batch of ${batch}`,
            round,
            value,
            unit: "rows/s",
          });
        }
        say(
          `onnxruntime  ${round + 1}/${rounds}  ${name}: ${Math.round(measurements.at(-1)!.value)} rows/s at ${BATCHES.at(-1)}`,
        );
      }
      await session.release();
    }
    return measurements;
  },
};

async function rowsPerSecond(session: InferenceSession, batch: number, ms: number): Promise<number> {
  const [input] = session.inputMetadata;
  if (input?.isTensor !== true) throw new TypeError("the model's input is no tensor");
  const width = Number(input.shape[1]);
  const data = Float32Array.from({ length: batch * width }, (_, i) => Math.sin(i));
  const feeds = { [input.name]: new Tensor("float32", data, [batch, width]) };
  await session.run(feeds);
  const startMs = performance.now();
  let runs = 0;
  do {
    await session.run(feeds);
    runs += 1;
  } while (performance.now() - startMs < ms);
  return (runs * batch) / ((performance.now() - startMs) / 1000);
}

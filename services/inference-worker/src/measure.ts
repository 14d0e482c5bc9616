import { parseArgs } from "node:util";
import { usableProcessors, wholeProcessors } from "@millrace/runtime";
import { curveOf } from "./announced-curve.ts";
import { type RepositoryModel, scanRepository } from "./repository.ts";
import { type RunnerThread, startRunnerThread } from "./runner-host.ts";

/**
 * Measures the curves of the models of a folder, outside of a worker: the program behind `millrace bench`, which starts it and hears
 * what it tells over IPC.
 *
 *     node measure.ts --models DIR [--model NAME] --rows-max 256 --seconds 10 --threads 0
 */

/** Times in ms. The line is the nearest to the medians; undefined where only one size was measured. */
export type MeasuredCurve = {
  readonly points: readonly {
    readonly rows: number;
    readonly q50Ms: number;
    readonly q95Ms: number;
    readonly samples: number;
  }[];
  readonly line: { readonly fixedMs: number; readonly rowMs: number } | undefined;
};

/** What is told of each model, in the order of the folder; `done` is the last. */
export type MeasureReport =
  | { readonly type: "measuring"; readonly name: string; readonly version: string }
  | ({
      readonly type: "measured";
      readonly name: string;
      readonly version: string;
      readonly threads: number;
      /** Why it is run one request at a time; "" where it batches. */
      readonly batchingReason: string;
      /** As its manifest has them, or their defaults; 0 where a target is not set. */
      readonly maxBatchSize: number;
      readonly timeoutMs: number;
      readonly sloMs: number;
    } & MeasuredCurve)
  | { readonly type: "failed"; readonly name: string; readonly version: string; readonly reason: string }
  | { readonly type: "done" };

function tell(report: MeasureReport): void {
  process.send?.(report);
}

async function measure(
  thread: RunnerThread,
  found: RepositoryModel,
  options: { readonly rowsMax: number; readonly sweepMs: number; readonly threads: number },
): Promise<MeasureReport> {
  const { name, version } = found;
  if (found.state === "failed") return { type: "failed", name, version, reason: found.reason };
  tell({ type: "measuring", name, version });
  const { batching, maxBatchSize, timeoutMs, sloMs } = found.manifest;
  const { rowsMax, sweepMs, threads } = options;
  try {
    const loaded = await thread.load({
      model: 0,
      source: found.source,
      limits: { maxBatchSize: rowsMax, batching },
      sweepMs,
    });
    const curve = curveOf(loaded.warmUpRuns);
    const { batchingReason } = loaded;
    const manifest = { maxBatchSize, timeoutMs, sloMs };
    return {
      type: "measured",
      name,
      version,
      threads,
      batchingReason,
      ...manifest,
      points: curve.points(),
      line: curve.line(),
    };
  } catch (error) {
    return { type: "failed", name, version, reason: error instanceof Error ? error.message : String(error) };
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      models: { type: "string", default: "models" },
      model: { type: "string", default: "" },
      "rows-max": { type: "string", default: "256" },
      seconds: { type: "string", default: "10" },
      threads: { type: "string", default: "0" },
    },
  });
  // Whoever asked is gone.
  process.on("disconnect", () => process.exit(1));
  process.env["ORT_DISABLE_TELEMETRY"] ??= "1";
  const threads = Number(values.threads) || wholeProcessors(usableProcessors());
  const thread = startRunnerThread({ threads });
  const options = { rowsMax: Number(values["rows-max"]), sweepMs: Number(values.seconds) * 1000, threads };
  const all = await scanRepository(values.models);
  for (const found of all.filter(({ name }) => values.model === "" || name === values.model)) {
    tell(await measure(thread, found, options));
  }
  await thread.close();
  tell({ type: "done" });
  if (process.connected) process.disconnect?.();
}

await main();

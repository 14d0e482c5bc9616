import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { helpOfOptions, loadOptions, OptionError } from "@millrace/runtime";
import { BENCH_OPTIONS, type BenchOptions } from "./bench-options.ts";
import { benchJson, benchText, type MeasuredModel } from "./bench-report.ts";
import { findModels } from "./models-folder.ts";

/** What the measuring program tells over IPC. */
type Report =
  | { readonly type: "measuring"; readonly name: string; readonly version: string }
  | ({ readonly type: "measured" } & MeasuredModel)
  | { readonly type: "failed"; readonly name: string; readonly version: string; readonly reason: string }
  | { readonly type: "done" };

const PROGRESS_EVERY_MS = 1_000;

/** The help text of `millrace bench`. */
export function benchHelp(): string {
  const title =
    "millrace bench [OPTIONS]: a model's batch times, its best batch size, and the workers that a rate needs";
  return `${title}\n\n${helpOfOptions(BENCH_OPTIONS)}`;
}

/**
 * Measures models in a process of their own, and reports: text, or with --json one document, on stdout; progress on stderr. The exit
 * code is 1 where a model could not be measured.
 *
 * @throws {OptionError} for options that are not allowed, and where there is no such folder or model.
 */
export async function runBench(argv: string[]): Promise<void> {
  const options = loadOptions(BENCH_OPTIONS, { env: process.env, argv });
  const folder = findModels(options.models);
  const documents: unknown[] = [];
  await measure(folder, options, (report) => {
    const { name, version } = report;
    if (report.type === "failed") {
      process.exitCode = 1;
      process.stderr.write(`${name} version ${version} cannot be measured: ${report.reason}\n`);
      documents.push({ model: name, version, error: report.reason });
    } else {
      documents.push(benchJson(report, options));
      if (!options.json) process.stdout.write(`${benchText(report, options)}\n`);
    }
  });
  const which = options.model === "" ? "no model" : `no model "${options.model}"`;
  if (documents.length === 0) throw new OptionError(`${folder}: there is ${which}`);
  if (options.json) process.stdout.write(`${JSON.stringify({ models: documents }, undefined, 2)}\n`);
}

type Ended = Extract<Report, { readonly type: "measured" | "failed" }>;

/** Runs the measuring program to its end. @throws Error where it ends before it is done. */
async function measure(folder: string, options: BenchOptions, onEnded: (report: Ended) => void): Promise<void> {
  const program = fileURLToPath(import.meta.resolve("@millrace/inference-worker/measure"));
  const flags = {
    models: folder,
    model: options.model,
    "rows-max": options.rowsMax,
    seconds: options.seconds,
    threads: options.threads,
  };
  const argv = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
  const child = spawn(process.execPath, [program, ...argv], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let sinceMs = performance.now();
  let measuring = "";
  const timer = setInterval(() => {
    if (measuring === "") return;
    const seconds = Math.round((performance.now() - sinceMs) / 1000);
    process.stderr.write(`${measuring}: measuring, ${seconds} s; at most ${options.seconds} s of compute time\n`);
  }, PROGRESS_EVERY_MS);
  let isDone = false;
  child.on("message", (report: Report) => {
    if (report.type === "done") isDone = true;
    else if (report.type === "measuring") {
      [measuring, sinceMs] = [`${report.name} version ${report.version}`, performance.now()];
      process.stderr.write(`${measuring}: loading and measuring\n`);
    } else {
      measuring = "";
      onEnded(report);
    }
  });
  child.on("error", reject);
  child.on("exit", (code, signal) => {
    if (isDone) resolve();
    else reject(new Error(`${measuring === "" ? "measuring" : `measuring ${measuring}`} ended with ${signal ?? code}`));
  });
  await promise.finally(() => clearInterval(timer));
}

import { execFile } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { CONFORMANCE_CACHE, pythonEnvironment } from "./python-environment.ts";
import type { Tally } from "./tally.ts";

/** A run that takes longer has hung. */
const RUN_TIMEOUT_MS = 120_000;

/** Windows of a count, however much they differ: it is the protocol that is tested here, and not the speed. */
const WINDOWS =
  "--measurement-mode count_windows --measurement-request-count 50 --stability-percentage 999 --max-trials 20";

const LOADS = {
  "concurrency 4": "--concurrency-range 4",
  "rate 100/s constant": "--request-rate-range 100 --request-distribution constant",
  "rate 100/s Poisson": "--request-rate-range 100 --request-distribution poisson",
};

/** What every run must tell. The server's part is there only if its statistics can be read. */
const WANTED = [
  /^\s+Request count: [1-9]\d*$/m,
  /^\s+Throughput: [1-9]/m,
  /^\s+Inference count: [1-9]\d*$/m,
  /^\s+Execution count: [1-9]\d*$/m,
  /^\s+Successful request count: [1-9]\d*$/m,
];

/** Columns of its CSV that come from the server's statistics, in microseconds. The run of the model is never for nothing. */
const SERVER_COLUMNS = ["Server Queue", "Server Compute Input", "Server Compute Infer", "Server Compute Output"];

/**
 * The real `perf_analyzer`, as it comes in the wheel of tritonclient 2.49, against `digits` at a URL: closed loop, and open loop
 * with constant and with Poisson arrivals, each as JSON and as bytes, with one and with four rows. Needs Linux on x86-64, and
 * Debian's libb64-0d.
 */
export async function runPerfAnalyzer(url: string, at: string): Promise<Tally> {
  const environment = await pythonEnvironment("perf-analyzer");
  const tally = { passed: 0, failed: 0 };
  for (const [load, loadFlags] of Object.entries(LOADS)) {
    for (const format of ["binary", "json"]) {
      for (const rows of [1, 4]) {
        const flags = `${loadFlags} -b ${rows} --input-tensor-format ${format} --output-tensor-format ${format}`;
        const { told, faults } = await run(environment, url, flags.split(" "));
        tally[faults.length === 0 ? "passed" : "failed"] += 1;
        const mark = faults.length === 0 ? "ok" : "FAILED";
        const call = `perf_analyzer ${load}, ${format}, batch ${rows}, ${at}`;
        console.log(`${mark.padEnd(6)}  ${call.padEnd(62)} → ${[told, ...faults].join("; ")}`);
      }
    }
  }
  return tally;
}

/** One run: what it told in short, and what is wrong with it. */
async function run(
  environment: string,
  url: string,
  flags: readonly string[],
): Promise<{ readonly told: string; readonly faults: readonly string[] }> {
  const libraries = join(environment, "lib", await pythonFolder(environment), "site-packages/nvidia/cuda_runtime/lib");
  const csv = join(CONFORMANCE_CACHE, "perf-analyzer.csv");
  await rm(csv, { force: true });
  const where = ["-m", "digits", "-u", url.replace("http://", ""), "-i", "http", "-f", csv];
  const options = { env: { ...process.env, LD_LIBRARY_PATH: libraries }, timeout: RUN_TIMEOUT_MS };
  const program = join(environment, "bin", "perf_analyzer");
  const ran = promisify(execFile)(program, [...where, ...WINDOWS.split(" "), ...flags], options);
  const { stdout, stderr, code } = await ran.then(
    (output) => ({ ...output, code: 0 }),
    (error: { stdout?: string; stderr?: string; code?: number | string; message: string }) => ({
      stdout: error.stdout ?? "",
      stderr: error.stderr || error.message,
      code: error.code ?? "killed",
    }),
  );
  const faults: string[] = [];
  if (code !== 0) faults.push(`it ended with ${code}: ${stderr.trim()}`);
  for (const wanted of WANTED) if (!wanted.test(stdout)) faults.push(`its report has no ${wanted.source}`);
  if (/\berror|failed/i.test(stdout)) faults.push(stdout.trim());
  const [names = "", values = ""] = (await readFile(csv, "utf8").catch(() => "")).split("\n");
  const row = Object.fromEntries(names.split(",").map((name, index) => [name, Number(values.split(",")[index])]));
  for (const name of SERVER_COLUMNS) if (!(Number(row[name]) >= 0)) faults.push(`no ${name}`);
  if (!(Number(row["Server Compute Infer"]) > 0)) faults.push("runs of the model took no time");
  const figures = `${row["Inferences/Second"]} rows/s, run ${row["Server Compute Infer"]} µs`;
  return { told: figures, faults };
}

/** `python3.11`, as the environment has it. */
async function pythonFolder(environment: string): Promise<string> {
  const config = await readFile(join(environment, "pyvenv.cfg"), "utf8");
  const version = /^version = (\d+\.\d+)/m.exec(config)?.[1];
  if (version === undefined) throw new Error(`${environment} has no version of Python`);
  return `python${version}`;
}

import { type MetricSample, readMetrics, sumOf } from "../tests/support/metrics-text.ts";
import { threadCpuMsOf, type TreeProcess } from "../tests/support/process-tree.ts";
import { StartedProcess } from "../tests/support/started-process.ts";
import { DevSystem } from "../tests/support/system.ts";
import { PEERS } from "./peers/peers.ts";
import { pinned } from "./pinned.ts";
import type { RunReading, SideRow } from "./side.ts";

/** What differs between the systems of Millrace that are measured. */
type MillraceVariant = { readonly isBinary?: boolean };

/** Millrace with so many gateways and workers, one thread for each worker's model. */
export function millrace(gateways: number, workers: number, variant: MillraceVariant = {}): SideRow {
  const { isBinary = false } = variant;
  const plural = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;
  const parts = [plural(gateways, "gateway"), plural(workers, "worker")];
  if (isBinary) parts.push("tensors as bytes");
  return {
    name: `Millrace, ${parts.join(", ")}`,
    form: isBinary ? "oip-binary" : "oip",
    isTimed: true,
    settings: `${parts[0]}, ${parts[1]}, --threads 1, --log-level warn; of open loops each request brings its budget`,
    budgetHeaders: (budgetMs) => ({ "x-request-timeout-ms": String(budgetMs) }),
    advice: "",
    missing: () => "",
    start: async ({ repository }) => {
      const args = ["--threads", "1", "--log-level", "warn"];
      const system = await DevSystem.start({ models: repository, gateways, workers, args });
      const admins = Object.entries(system.addresses)
        .filter(([name]) => name.startsWith("worker-"))
        .map(([, { admin = "" }]) => admin);
      return {
        urls: system.urls,
        [Symbol.asyncDispose]: () => system[Symbol.asyncDispose](),
        processes: () => system.process.tree(),
        readRuns: async () => {
          const samples = (await Promise.all(admins.map(readMetrics))).flat();
          return { ...toReading(samples), cpuSeconds: slotCpuSeconds(system.process.tree()) };
        },
      };
    },
  };
}

function slotCpuSeconds(processes: readonly TreeProcess[]): number {
  const workers = processes.filter(({ name }) => name.startsWith("worker-"));
  return workers.reduce((sum, { pid }) => sum + threadCpuMsOf(pid, "slot"), 0) / 1000;
}

function toReading(samples: readonly MetricSample[]): Omit<RunReading, "cpuSeconds"> {
  return {
    runs: sumOf(samples, "millrace_worker_inference_seconds_count"),
    rows: sumOf(samples, "millrace_worker_rows_total"),
    seconds: sumOf(samples, "millrace_worker_inference_seconds_sum"),
  };
}

/** What a body of bytes costs node:http that reads it and answers as much as the model would, and does nothing else. */
const echoSide: SideRow = {
  name: "node:http echo, tensors as bytes",
  form: "oip-binary",
  isTimed: false,
  isEcho: true,
  settings: "no model: reads the body, answers what was written beforehand",
  advice: "",
  missing: () => "",
  start: async () => {
    const started = new StartedProcess({ argv: ["bench/limits/echo-server.ts", "http"] });
    const { http = "" } = await started.ready;
    return Object.assign(started, { urls: [http], processes: () => started.tree() });
  },
};

/** Everything that can be measured; names are unique. */
export const SIDES: readonly SideRow[] = [
  millrace(1, 1),
  // Of two cores a saturated gateway fills about one.
  pinned(millrace(1, 1), (name) => (name.startsWith("gateway-") ? 0 : 1)),
  millrace(2, 1),
  millrace(1, 2),
  millrace(2, 2),
  millrace(1, 4),
  millrace(1, 1, { isBinary: true }),
  millrace(2, 1, { isBinary: true }),
  echoSide,
  ...PEERS,
];

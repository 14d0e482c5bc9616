import { type MetricSample, readMetrics, sumOf } from "../tests/support/metrics-text.ts";
import { DevSystem } from "../tests/support/system.ts";
import { PEERS } from "./peers/peers.ts";
import type { RunReading, SideRow } from "./side.ts";

/** Millrace with so many gateways and workers, one thread for each worker's model. */
export function millrace(gateways: number, workers: number): SideRow {
  const plural = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;
  const settings = `${plural(gateways, "gateway")}, ${plural(workers, "worker")}`;
  return {
    name: `Millrace, ${settings}`,
    form: "oip",
    isTimed: true,
    settings: `${settings}, --threads 1, --log-level warn; of open loops each request brings its budget`,
    budgetHeaders: (budgetMs) => ({ "x-request-timeout-ms": String(budgetMs) }),
    advice: "",
    missing: () => "",
    start: async ({ repository }) => {
      const args = ["--threads", "1", "--log-level", "warn"];
      const system = await DevSystem.start({ models: repository, gateways, workers, args });
      const admins = Object.entries(system.addresses)
        .filter(([name]) => name.startsWith("worker-"))
        .map(([, { admin = "" }]) => admin);
      return Object.assign(system, {
        processes: () => system.process.tree(),
        readRuns: async () => toReading((await Promise.all(admins.map(readMetrics))).flat()),
      });
    },
  };
}

function toReading(samples: readonly MetricSample[]): RunReading {
  return {
    runs: sumOf(samples, "millrace_worker_inference_seconds_count"),
    rows: sumOf(samples, "millrace_worker_rows_total"),
    seconds: sumOf(samples, "millrace_worker_inference_seconds_sum"),
  };
}

/** Everything that can be measured; names are unique. */
export const SIDES: readonly SideRow[] = [
  millrace(1, 1),
  millrace(2, 1),
  millrace(1, 2),
  millrace(2, 2),
  millrace(1, 4),
  ...PEERS,
];

import { StartedProcess } from "../../tests/support/started-process.ts";
import { rotated } from "../comparison.ts";
import type { LatencySummary } from "../../tests/support/latency-histogram.ts";
import { cpuBetween, readCpu } from "../process-usage.ts";
import type { LimitMeasurement } from "../results.ts";
import type { LimitOptions, LimitRow } from "./limits.ts";

/** Payloads of a request in bytes, and as many requests under way as a gateway of that load would have. */
const PAYLOADS = [
  { name: "256 B", bytes: 256, window: 256 },
  { name: "4 KiB", bytes: 4_096, window: 256 },
  { name: "600 kB", bytes: 600_000, window: 16 },
] as const;

/** Each measurement starts three processes. */
const ROUNDS_MAX = 3;
/** A percentile of 99.9 needs so many times the length of other measurements. */
const RESIDENCE_LENGTH = 5;
/** About half of what comes through one by one on two cores: at this rate most requests do. */
const RESIDENCE_RATE = 2_000;
const DONE_TIMEOUT_MS = 60_000;

/**
 * The broker between a gateway and a worker that do nothing else: the one submits again what was answered, the other answers at
 * once. Coalesced as they are in Millrace, or each request in messages of its own.
 */
export const brokerLimit: LimitRow = {
  name: "broker",
  title: "the broker between a fake gateway and a fake worker",
  measure: async ({ rounds, ms, signal, say }: LimitOptions) => {
    const measurements: LimitMeasurement[] = [];
    const cases = PAYLOADS.flatMap((payload) => [
      { ...payload, isCoalesced: true },
      { ...payload, isCoalesced: false },
    ]);
    const count = Math.min(rounds, ROUNDS_MAX);
    for (let round = 0; round < count; round++) {
      for (const one of rotated(cases, round)) {
        signal.throwIfAborted();
        const { value, cpuUs } = await measureBroker(one, ms);
        const what = `${one.name}, ${one.isCoalesced ? "coalesced" : "one by one"}`;
        measurements.push({ limit: "broker", what, round, value, unit: "requests/s", cpuUs });
        say(`broker  ${round + 1}/${count}  ${what}: ${Math.round(value)}/s, ${cpuUs.toFixed(1)} µs CPU in the broker`);
      }
    }
    return measurements;
  },
};

/**
 * What the broker adds at half load: from its receiving a request to its sending it on, as it tells itself, since the fake worker always
 * has a place; the whole way from a request being due to its answer; and what the garbage collector takes.
 */
export const residenceLimit: LimitRow = {
  name: "residence",
  title: "the round trip through the broker at half load",
  measure: async ({ rounds, ms, signal, say }: LimitOptions) => {
    const measurements: LimitMeasurement[] = [];
    const load = { bytes: 256, window: 0, isCoalesced: true, ratePerSecond: RESIDENCE_RATE };
    const count = Math.min(rounds, ROUNDS_MAX);
    const rate = RESIDENCE_RATE.toLocaleString("en-US");
    for (let round = 0; round < count; round++) {
      signal.throwIfAborted();
      const { latencyMs, queueMs, pausesMs, cpuUs } = await measureBroker(load, ms * RESIDENCE_LENGTH);
      const { p50, p99, p999 } = latencyMs;
      const figures = {
        "in the broker p50": queueMs.p50,
        "in the broker p99": queueMs.p99,
        "in the broker p99.9": queueMs.p999,
        "round trip p50": p50,
        "round trip p99": p99,
        "round trip p99.9": p999,
        "longest pause of its collector": Math.max(0, ...pausesMs),
      };
      for (const [what, value] of Object.entries(figures)) {
        measurements.push({ limit: "residence", what: `${what}, ${rate} a second`, round, value, unit: "ms" });
      }
      const pauses = `${pausesMs.length} pauses of at most ${Math.max(0, ...pausesMs)} ms`;
      const inBroker = `p99.9 ${queueMs.p999.toFixed(2)} ms in the broker, ${p999.toFixed(2)} ms there and back`;
      say(`residence  ${round + 1}/${count}  ${inBroker}, ${pauses}, ${cpuUs.toFixed(1)} µs CPU`);
    }
    return measurements;
  },
};

export type BrokerCase = {
  readonly bytes: number;
  readonly window: number;
  readonly isCoalesced: boolean;
  /** Poisson arrivals at this rate, instead of a window that is always full. */
  readonly ratePerSecond?: number;
};

export type BrokerRun = {
  /** Requests a second. */
  readonly value: number;
  readonly cpuUs: number;
  /** From a request being due to its answer: both hops of ZeroMQ and the fake worker are in it. */
  readonly latencyMs: LatencySummary;
  /** From the broker's receiving a request to its sending it on. */
  readonly queueMs: LatencySummary;
  /** Pauses of the broker's garbage collection, in milliseconds. */
  readonly pausesMs: readonly number[];
};

/** One run of three processes; `ms` of it count. */
export async function measureBroker(
  { bytes, window, isCoalesced, ratePerSecond = 0 }: BrokerCase,
  ms: number,
): Promise<BrokerRun> {
  await using stack = new AsyncDisposableStack();
  const env = { MILLRACE_GATEWAY_PORT: "0", MILLRACE_WORKER_PORT: "0", MILLRACE_ADMIN_PORT: "0" };
  const broker = stack.use(new StartedProcess({ argv: ["--trace-gc", "cli/src/main.ts", "broker"], env }));
  const { workers = "", gateways = "" } = await broker.ready;
  const batch = isCoalesced ? "64" : "1";
  const worker = stack.use(new StartedProcess({ argv: ["bench/limits/fake-worker.ts", workers, batch] }));
  await worker.ready;
  const argv = [gateways, bytes, window, isCoalesced ? "coalesced" : "lone", ms, ratePerSecond].map(String);
  const gateway = stack.use(new StartedProcess({ argv: ["bench/limits/fake-gateway.ts", ...argv] }));
  // It reports so when it has warmed up.
  await gateway.ready;
  const before = readCpu(broker.tree());
  const from = broker.log.lines.length;
  const line = await gateway.log.waitFor(/^done /, { timeoutMs: DONE_TIMEOUT_MS });
  const used = cpuBetween(before, readCpu(broker.tree()));
  const { answers, elapsedMs, latencyMs, queueMs } = JSON.parse(line.slice("done ".length)) as {
    readonly answers: number;
    readonly elapsedMs: number;
    readonly latencyMs: LatencySummary;
    readonly queueMs: LatencySummary;
  };
  const cpuMs = Object.values(used).reduce((sum, one) => sum + one, 0);
  const pausesMs = pausesOf(broker.log.lines.slice(from));
  return { value: answers / (elapsedMs / 1000), cpuUs: (cpuMs * 1000) / answers, latencyMs, queueMs, pausesMs };
}

/** Of the lines that `--trace-gc` writes: "… Scavenge 5.1 (6.2) -> 4.4 (7.2) MB, pooled: 0 MB, 1.05 / 0.00 ms …". */
export function pausesOf(lines: readonly string[]): number[] {
  return lines.flatMap((line) => {
    const pause = /(?:Scavenge|Mark-Compact)[^,]*MB, .*?([\d.]+) \/ [\d.]+ +ms/.exec(line)?.[1];
    return pause === undefined ? [] : [Number(pause)];
  });
}

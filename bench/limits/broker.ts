import { StartedProcess } from "../../tests/support/started-process.ts";
import { startBroker } from "../../tests/support/system.ts";
import { rotated } from "../comparison.ts";
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

export type BrokerCase = { readonly bytes: number; readonly window: number; readonly isCoalesced: boolean };

/** One run of three processes; `ms` of it count. */
export async function measureBroker(
  { bytes, window, isCoalesced }: BrokerCase,
  ms: number,
): Promise<{ readonly value: number; readonly cpuUs: number }> {
  await using stack = new AsyncDisposableStack();
  const broker = stack.use(await startBroker());
  const { workers = "", gateways = "" } = broker.addresses;
  const batch = isCoalesced ? "64" : "1";
  const worker = stack.use(new StartedProcess({ argv: ["bench/limits/fake-worker.ts", workers, batch] }));
  await worker.ready;
  const argv = [gateways, String(bytes), String(window), isCoalesced ? "coalesced" : "lone", String(ms)];
  const gateway = stack.use(new StartedProcess({ argv: ["bench/limits/fake-gateway.ts", ...argv] }));
  // It reports so when it has warmed up.
  await gateway.ready;
  const before = readCpu(broker.tree());
  const line = await gateway.log.waitFor(/^done /, { timeoutMs: DONE_TIMEOUT_MS });
  const used = cpuBetween(before, readCpu(broker.tree()));
  const { answers, elapsedMs } = JSON.parse(line.slice("done ".length)) as { answers: number; elapsedMs: number };
  const cpuMs = Object.values(used).reduce((sum, one) => sum + one, 0);
  return { value: answers / (elapsedMs / 1000), cpuUs: (cpuMs * 1000) / answers };
}

import { sumOf } from "../../../tests/support/metrics-text.ts";
import { LiveSystem } from "../live-system.ts";
import type { PartRow } from "../part.ts";

/** One model takes forty times as long as the other: ten times 2 and 80 ms, so that a busy machine matters less. */
const FAST = { name: "fast", runMs: 20, rowMs: 0.5, maxBatchSize: 8 } as const;
const SLOW = { name: "slow", runMs: 800, rowMs: 0, maxBatchSize: 8 } as const;
/** Long enough not to matter where nothing is overloaded. */
const BUDGET_MS = 5_000;
/** In overload: what waits is all that arrives in this time. */
const PRESSED_MS = 2_000;

export const shared: PartRow = {
  name: "B7",
  title: "A fast and a slow model on the same workers",
  workers: [2],
  run: async (run) => {
    const { workers, seed } = run.context;
    const models = [FAST, SLOW].map((model) => ({ ...model, timeoutMs: BUDGET_MS }));
    await using live = await LiveSystem.start({ workers, models });
    const load = (name: "fast" | "slow", ratePerSecond: number, seconds: number) => ({
      name,
      model: name,
      deadlineMs: BUDGET_MS,
      arrivals: {
        kind: "poisson",
        ratePerSecond,
        durationMs: run.durationMs(seconds),
        seed: seed + (name === "slow" ? 1 : 0),
      } as const,
    });
    await run.warmUp(live, { model: "fast", deadlineMs: BUDGET_MS }, 30);
    const alone = await run.probe(live, { ...load("fast", 30 * workers, 12), name: "fast alone" });
    const [fast, slow] = await run.probeTogether(live, [
      load("fast", 30 * workers, 20),
      load("slow", 0.4 * workers, 20),
    ]);
    const p99 = fast!.openLoop.okLatencyMs.p99;
    run.check({
      what: "fast model's p99 − (its p99 alone + one slow batch)",
      value: p99 - alone.openLoop.okLatencyMs.p99 - SLOW.runMs,
      unit: "ms",
      atMost: 0,
    });
    run.check({
      what: "answered, both",
      value: Math.min(fast!.openLoop.attainedShare, slow!.openLoop.attainedShare),
      unit: "",
      atLeast: 0.99,
    });
    const busy = async (model: string): Promise<number> =>
      sumOf(await live.brokerMetrics(), "millrace_broker_busy_seconds_total", { model });
    const before = await Promise.all([busy("fast"), busy("slow")]);
    // Each by itself more than all workers can do.
    const fastBest = 1000 / ((FAST.runMs + FAST.rowMs * FAST.maxBatchSize) / FAST.maxBatchSize);
    const slowBest = 1000 / (SLOW.runMs / SLOW.maxBatchSize);
    const pressed = {
      deadlineMs: PRESSED_MS,
      headers: { "x-request-timeout-ms": String(PRESSED_MS) },
      connections: 4096,
    };
    await run.probeTogether(live, [
      { ...load("fast", 1.3 * fastBest * workers, 20), ...pressed, name: "fast, overloaded" },
      { ...load("slow", 1.3 * slowBest * workers, 20), ...pressed, name: "slow, overloaded" },
    ]);
    const after = await Promise.all([busy("fast"), busy("slow")]);
    const [fastBusy, slowBusy] = [after[0] - before[0], after[1] - before[1]];
    run.check({
      what: "both overloaded: the slow model's share of the compute time",
      value: slowBusy / (fastBusy + slowBusy),
      unit: "",
      atLeast: 0.45,
    });
    run.check({
      what: "both overloaded: the fast model's share of the compute time",
      value: fastBusy / (fastBusy + slowBusy),
      unit: "",
      atLeast: 0.3,
    });
  },
};

import { runCheckedLoad } from "../../../tests/support/load.ts";
import { DEVICE, LINE, ROWS_MAX } from "../device.ts";
import { GENERATOR } from "../generator.ts";
import { LiveSystem } from "../live-system.ts";
import type { PartRow } from "../part.ts";
import { assertRight } from "../probe.ts";

/** Long enough not to matter, and a budget that binds: a queue of longer ones that stands is shed (docs/priorities.md). */
const BUDGET_MS = 9_000;
const OUTSTANDING = 1_000;

/** A device of two milliseconds, without a cost a row: nearly all of a lone request is what stands around the run. */
const QUICK = { name: "quick", runMs: 2 } as const;

export const lone: PartRow = {
  name: "B1",
  title: "One client, one request at a time: what is added to the run",
  workers: [1],
  run: async (run) => {
    await using live = await LiveSystem.start({ workers: 1, models: [QUICK] });
    const load = {
      urls: live.system.urls,
      connections: 1,
      requests: Number.MAX_SAFE_INTEGER,
      pools: [live.poolOf(QUICK.name)],
      seed: 1,
      rowsMax: 1,
      warmUp: live.warmUp,
    };
    await runCheckedLoad({ ...load, durationMs: run.durationMs(2) }, GENERATOR);
    run.context.signal.throwIfAborted();
    const report = await runCheckedLoad({ ...load, durationMs: run.durationMs(10) }, GENERATOR);
    assertRight("lone", report);
    const computeMs = await live.medianMs(QUICK.name, 1);
    const { p50, p99 } = report.latencyMs;
    run.fact("p50 ms", p50);
    run.fact("p99 ms", p99);
    run.fact("run ms", computeMs);
    run.check({ what: "p50 − the run", value: p50 - computeMs, unit: "ms", atMost: 0.7 });
    run.check({ what: "p99 − the run", value: p99 - computeMs, unit: "ms", atMost: 2 });
  },
};

export const saturated: PartRow = {
  name: "B2",
  title: "1,000 requests outstanding all the time",
  workers: [2, 4],
  run: async (run) => {
    const { workers } = run.context;
    await using live = await LiveSystem.start({ workers, models: [{ ...DEVICE, timeoutMs: BUDGET_MS }] });
    const load = {
      urls: live.system.urls,
      connections: OUTSTANDING,
      requests: Number.MAX_SAFE_INTEGER,
      pools: [live.poolOf(DEVICE.name)],
      seed: 1,
      rowsMax: 1,
      warmUp: live.warmUp,
    };
    await runCheckedLoad({ ...load, durationMs: run.durationMs(3) }, GENERATOR);
    run.context.signal.throwIfAborted();
    const durationMs = run.durationMs(15);
    const report = await runCheckedLoad({ ...load, durationMs }, GENERATOR);
    assertRight("saturated", report);
    const { answers, identity, latencyMs } = report;
    // What was outstanding at the end of the time was answered behind it, by workers that ran out of work.
    const perSecond = (answers - OUTSTANDING) / (durationMs / 1000);
    const best = (1000 * workers * ROWS_MAX) / (LINE.fixedMs + LINE.rowMs * ROWS_MAX);
    run.fact("answers a second", perSecond);
    run.fact("p99 ms", latencyMs.p99);
    run.fact("rows a run", identity.batches[DEVICE.name]?.meanRows ?? 0);
    run.check({ what: "throughput ÷ N·B/L(B)", value: perSecond / best, unit: "", atLeast: 0.95 });
    // All latencies together are the requests outstanding over time: so many until the end, and then fewer and fewer.
    const outstandingMs = OUTSTANDING * (durationMs + latencyMs.mean / 2);
    run.check({
      what: "Little's law: Σ latencies ÷ (1,000 × time)",
      value: (answers * latencyMs.mean) / outstandingMs,
      unit: "",
      atLeast: 0.98,
      atMost: 1.02,
    });
    run.check({
      what: "requests not answered with 200",
      value: answers - (identity.statuses["200"] ?? 0),
      unit: "",
      atMost: 0,
    });
  },
};

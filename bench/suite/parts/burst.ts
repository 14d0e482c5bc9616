import { DEVICE, LINE } from "../device.ts";
import { LiveSystem } from "../live-system.ts";
import type { PartRow } from "../part.ts";
import type { SuiteProbe } from "../results.ts";

const REQUESTS = 1_000;
/** As much as the protocol carries: a burst is done in as few runs as slots can take it. */
const ROWS_MAX = 256;
const BURSTS = 3;
/** Long enough not to matter. */
const BUDGET_MS = 60_000;

/** All at once: C rows on N slots in k waves take k·a + b·C/N, and with k = 1 no less than a + b·C/N. */
export const burst: PartRow = {
  name: "B3",
  title: "1,000 requests at once, without a deadline",
  workers: [1, 2, 4],
  run: async (run) => {
    const { workers } = run.context;
    await using live = await LiveSystem.start({
      workers,
      models: [{ ...DEVICE, timeoutMs: BUDGET_MS, maxBatchSize: ROWS_MAX }],
    });
    const model = DEVICE.name;
    const work = { model, deadlineMs: BUDGET_MS };
    await run.warmUp(live, work, 50 * workers);
    const bestMs = LINE.fixedMs + (LINE.rowMs * REQUESTS) / workers;
    const waves = Math.max(1, Math.round(Math.sqrt((LINE.rowMs * REQUESTS) / workers / LINE.fixedMs)));
    const bestMeanMs = ((waves + 1) / 2) * (LINE.fixedMs + (LINE.rowMs * REQUESTS) / workers / waves);
    const bursts: SuiteProbe[] = [];
    for (let i = 0; i < Math.max(1, Math.round(BURSTS * run.context.scale)); i++) {
      const arrivals = { kind: "burst", requests: REQUESTS } as const;
      bursts.push(await run.probe(live, { name: `burst ${i + 1}`, ...work, arrivals, connections: REQUESTS, seed: i }));
    }
    const unanswered = bursts.reduce((sum, { openLoop }) => sum + REQUESTS - openLoop.outcomes.attained, 0);
    run.check({ what: "requests not answered with 200", value: unanswered, unit: "", atMost: 0 });
    const worst = (pick: (one: SuiteProbe) => number): number => Math.max(...bursts.map(pick));
    const last = worst(({ openLoop }) => openLoop.okLatencyMs.max);
    run.fact("last ms", last);
    run.check({ what: "last answer ÷ (a + b·C/N), worst of the bursts", value: last / bestMs, unit: "", atMost: 1.15 });
    const mean = worst(({ openLoop }) => openLoop.okLatencyMs.mean);
    run.check({ what: `mean ÷ the best mean (${waves} waves)`, value: mean / bestMeanMs, unit: "", atMost: 1.15 });
  },
};

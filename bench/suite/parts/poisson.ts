import type { Line } from "@millrace/scheduling";
import { Bisection } from "../bisection.ts";
import { absoluteLimit, DEADLINE_MS, DEVICE, staggeredLimit } from "../device.ts";
import { virtualLambda99 } from "../limit.ts";
import { LiveSystem } from "../live-system.ts";
import type { PartRow, PartRun } from "../part.ts";

/** What has to be in time for a rate to hold. */
const SHARE = 0.99;
/** Requests of one probe of the search, and how long it takes at least, in seconds. */
const PROBE_REQUESTS = 4_000;
const PROBE_SECONDS_MIN = 6;
const RESOLUTION = 0.01;
/** Requests that leave so late say more about the machine than about what is measured. */
const DISTURBED_LAG_MS = 5;
const TRIES = 3;
/** Loads of the sweep, as shares of what no policy exceeds. */
const LOADS = [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 1.2] as const;

const WORK = { model: DEVICE.name, deadlineMs: DEADLINE_MS };

/**
 * The highest Poisson rate that is answered in time to 99 %, live and by the simulator: the same policy, the curve that was measured in
 * this run, and the very same arrivals, so that the luck of the draw is the same for both.
 */
export const poisson: PartRow = {
  name: "B4",
  title: `Poisson arrivals: the highest rate of which 99 % are answered within ${DEADLINE_MS} ms`,
  workers: [1, 2, 4, 8],
  run: async (run) => {
    const { workers } = run.context;
    await using live = await LiveSystem.start({ workers, models: [DEVICE] });
    await run.warmUp(live, WORK, 0.7 * absoluteLimit(workers));
    const line = await live.measuredLine(DEVICE.name);
    run.fact("a ms", line.fixedMs);
    run.fact("b ms", line.rowMs);
    const drawn = virtualLambda99({ workers, line }, (rate) => planOf(run, rate));
    const limit = virtualLambda99({ workers, line });
    run.context.say(`simulator: ${drawn.toFixed(0)}/s with these arrivals, ${limit.toFixed(0)}/s in the long run`);
    const found = await search(run, live, drawn);
    await sweep(run, live, line);
    run.fact("lambda99", found);
    run.fact("lambda99 simulated", drawn);
    run.fact("lambda99 simulated, long run", limit);
    run.check({ what: "λ99 ÷ the simulator's", value: found / drawn, unit: "", atLeast: 0.95 });
    if (workers >= 8) {
      run.check({ what: "λ99 ÷ λ_stag", value: found / staggeredLimit(workers, line), unit: "", atLeast: 0.9 });
    }
  },
};

/** Arrivals of a probe: one seed, so that probes differ by their rate alone. */
function planOf(
  { context: { workers, seed, scale } }: PartRun,
  ratePerSecond: number,
): { readonly kind: "poisson" } & Record<"ratePerSecond" | "durationMs" | "seed", number> {
  const seconds = Math.max(PROBE_SECONDS_MIN, PROBE_REQUESTS / absoluteLimit(workers)) * scale;
  return { kind: "poisson", ratePerSecond, durationMs: seconds * 1000, seed };
}

async function search(run: PartRun, live: LiveSystem, expected: number): Promise<number> {
  const high = absoluteLimit(run.context.workers);
  const bisection = new Bisection({ expected, high, resolution: RESOLUTION * expected });
  for (let rate = bisection.next(); rate !== undefined; rate = bisection.next()) {
    bisection.told(rate, await holds(run, live, rate));
  }
  return bisection.found;
}

/** A rate that does not hold while the generator itself is late has been disturbed, and is asked for again. */
async function holds(run: PartRun, live: LiveSystem, rate: number): Promise<boolean> {
  for (let tried = 1; ; tried++) {
    const { openLoop } = await run.probe(live, { name: "search", ...WORK, arrivals: planOf(run, rate) });
    if (openLoop.attainedShare >= SHARE) return true;
    if (openLoop.lagMs.p99 < DISTURBED_LAG_MS || tried === TRIES) return false;
  }
}

/** Long enough for a hundred requests, up to a bound. */
function sweepSeconds(ratePerSecond: number): number {
  return Math.max(4, Math.min(12, 100 / ratePerSecond));
}

async function sweep(run: PartRun, live: LiveSystem, line: Line): Promise<void> {
  const { workers, seed } = run.context;
  for (const load of LOADS) {
    const ratePerSecond = load * absoluteLimit(workers, line);
    const arrivals = {
      kind: "poisson",
      ratePerSecond,
      durationMs: run.durationMs(sweepSeconds(ratePerSecond)),
      seed: seed + 1,
    } as const;
    const { openLoop, meanBatchRows, goodputPerSecond } = await run.probe(live, {
      name: `load ${load * 100} %`,
      ...WORK,
      arrivals,
    });
    run.fact(`load ${load} p50 ms`, openLoop.okLatencyMs.p50);
    run.fact(`load ${load} p99 ms`, openLoop.okLatencyMs.p99);
    run.fact(`load ${load} rows`, meanBatchRows);
    run.fact(`load ${load} goodput`, goodputPerSecond);
    if (load === LOADS[0]) {
      const aloneMs = line.fixedMs + line.rowMs;
      run.check({
        what: `p50 at ${load * 100} % of the load − L(1)`,
        value: openLoop.okLatencyMs.p50 - aloneMs,
        unit: "ms",
        atMost: 0.7,
      });
    }
  }
}

export { LOADS as SWEEP_LOADS };

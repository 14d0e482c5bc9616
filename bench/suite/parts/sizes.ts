import type { ArrivalPlan } from "../../../tests/support/arrival-plan.ts";
import { RowIdentityChecker } from "../../../tests/support/row-identity.ts";
import { buildRowPool } from "../../../tests/support/row-pool.ts";
import { absoluteLimit, DEADLINE_MS, DEVICE, LINE } from "../device.ts";
import { virtualShare } from "../limit.ts";
import { LiveSystem } from "../live-system.ts";
import type { PartRow } from "../part.ts";
import { lambda99 } from "../../simulator/lambda99.ts";

const ROWS_OF_REQUEST_MAX = 32;
const MEAN_ROWS = (1 + ROWS_OF_REQUEST_MAX) / 2;
/** Few requests come, of which one in a hundred may be late: in 15 s that were five, and luck. */
const SECONDS = 45;
const WORK = { model: DEVICE.name, deadlineMs: DEADLINE_MS };

export const sizes: PartRow = {
  name: "B8",
  title: `Requests of 1 to ${ROWS_OF_REQUEST_MAX} rows`,
  workers: [4],
  run: async (run) => {
    const { workers, seed } = run.context;
    await using live = await LiveSystem.start({ workers, models: [DEVICE] });
    await run.warmUp(live, WORK, 0.5 * absoluteLimit(workers));
    const line = await live.measuredLine(DEVICE.name);
    const planOf = (ratePerSecond: number): ArrivalPlan => ({
      kind: "poisson",
      ratePerSecond,
      durationMs: run.durationMs(SECONDS),
      seed,
    });
    // The very requests that the load will send, by their sizes.
    const pools = [await buildRowPool(live.poolOf(DEVICE.name))];
    const requests = new RowIdentityChecker({ pools, seed, rowsMax: ROWS_OF_REQUEST_MAX });
    const sizes: number[] = [];
    const rowsOf = (index: number): number => {
      while (sizes.length <= index) sizes.push(requests.next().rows.length);
      return sizes[index]!;
    };
    const share = (rate: number): number => virtualShare({ workers, line }, planOf(rate), rowsOf);
    const limit = lambda99(share, absoluteLimit(workers) / MEAN_ROWS);
    run.fact("lambda99 simulated", limit);
    const { openLoop, meanBatchRows } = await run.probe(live, {
      name: "sizes",
      ...WORK,
      arrivals: planOf(0.9 * limit),
      rowsMax: ROWS_OF_REQUEST_MAX,
      seed,
    });
    run.fact("rows a run", meanBatchRows);
    run.check({
      what: "in time at 0.9 of the simulator's λ99",
      value: openLoop.attainedShare,
      unit: "",
      atLeast: 0.99,
    });
  },
};

const LENGTH_MIN = 16;
const LENGTH_MAX = 512;
/** Lengths are even over the range, so sizes at equal steps waste the least: half a step of a row in the mean. */
const BUCKET_STEP = 48;
/**
 * Rows of different buckets do not share runs: with eleven of them a run has few rows at any load that its fixed cost allows. So this is
 * a light load, as a share of what no policy exceeds.
 */
const LENGTHS_LOAD = 0.12;

export const lengths: PartRow = {
  name: "B8-lengths",
  title: `Rows of ${LENGTH_MIN} to ${LENGTH_MAX} elements, padded to the next of ${Math.ceil(LENGTH_MAX / BUCKET_STEP)} sizes`,
  workers: [4],
  run: async (run) => {
    const { workers, seed } = run.context;
    const all = Array.from({ length: 32 }, (_, i) => LENGTH_MIN + 16 * i);
    const buckets = Array.from({ length: Math.ceil(LENGTH_MAX / BUCKET_STEP) }, (_, i) => BUCKET_STEP * (i + 1));
    // A row of mean length takes as long as one of the device.
    const elementMs = LINE.rowMs / ((LENGTH_MIN + LENGTH_MAX) / 2);
    const model = { ...DEVICE, rowMs: 0, lengths: { buckets, elementMs } };
    await using live = await LiveSystem.start({ workers, models: [model], lengths: all });
    const ratePerSecond = LENGTHS_LOAD * absoluteLimit(workers);
    await run.warmUp(live, WORK, ratePerSecond);
    const read = (): Promise<number[]> =>
      Promise.all(
        ["padding", "input"].map((what) => live.workersSum(`millrace_worker_${what}_elements_total`, DEVICE.name)),
      );
    const before = await read();
    const arrivals = { kind: "poisson", ratePerSecond, durationMs: run.durationMs(15), seed } as const;
    const { openLoop, meanBatchRows } = await run.probe(live, { name: "lengths", ...WORK, arrivals });
    const [padding = 0, elements = 0] = (await read()).map((value, i) => value - (before[i] ?? 0));
    run.fact("rows a run", meanBatchRows);
    run.check({ what: "padding ÷ all elements", value: padding / elements, unit: "", atMost: 0.1 });
    run.check({ what: `in time at ${LENGTHS_LOAD} of λ_abs`, value: openLoop.attainedShare, unit: "", atLeast: 0.99 });
  },
};

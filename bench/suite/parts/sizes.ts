import type { ArrivalPlan } from "../../../tests/support/arrival-plan.ts";
import { SeededRandom } from "../../../tests/support/seeded-random.ts";
import { absoluteLimit, DEADLINE_MS, DEVICE } from "../device.ts";
import { virtualShare } from "../limit.ts";
import { LiveSystem } from "../live-system.ts";
import type { PartRow } from "../part.ts";
import { lambda99 } from "../../simulator/lambda99.ts";

const ROWS_OF_REQUEST_MAX = 32;
const MEAN_ROWS = (1 + ROWS_OF_REQUEST_MAX) / 2;
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
      durationMs: run.durationMs(15),
      seed,
    });
    const random = new SeededRandom(seed + 3);
    const drawn = Array.from({ length: 100_000 }, () => random.integer(1, ROWS_OF_REQUEST_MAX));
    const share = (rate: number): number =>
      virtualShare({ workers, line }, planOf(rate), (index) => drawn[index % drawn.length]!);
    const limit = lambda99(share, absoluteLimit(workers) / MEAN_ROWS);
    run.fact("lambda99 simulated", limit);
    const { openLoop, meanBatchRows } = await run.probe(live, {
      name: "sizes",
      ...WORK,
      arrivals: planOf(0.9 * limit),
      rowsMax: ROWS_OF_REQUEST_MAX,
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

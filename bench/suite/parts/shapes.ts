import { setTimeout as sleep } from "node:timers/promises";
import type { ArrivalPlan } from "../../../tests/support/arrival-plan.ts";
import { absoluteLimit, DEADLINE_MS, DEVICE } from "../device.ts";
import { virtualLambda99, virtualShare } from "../limit.ts";
import { LiveSystem } from "../live-system.ts";
import type { PartRow, PartRun } from "../part.ts";
import type { SuiteProbe } from "../results.ts";

const WORK = { model: DEVICE.name, deadlineMs: DEADLINE_MS };
const WINDOW_MS = 500;
/** Of the highest rate that holds. */
const NORMAL = 0.7;
/** A peak begins at this share and doubles step by step. */
const PEAK_FROM = 0.15;
const PEAK_STEPS = 4;
const STEP_SECONDS = 6;
const OUTSTANDING = 1_000;

type Shape = { readonly run: PartRun; readonly live: LiveSystem; readonly highest: number };

/** A part that runs one shape of load on a fresh system. */
function shape(name: string, title: string, work: (shape: Shape) => Promise<void>): PartRow {
  return {
    name,
    title,
    workers: [4],
    run: async (run) => {
      const { workers } = run.context;
      await using live = await LiveSystem.start({ workers, models: [DEVICE], logLevel: "info" });
      await run.warmUp(live, WORK, 0.6 * absoluteLimit(workers));
      const line = await live.measuredLine(DEVICE.name);
      const highest = run.context.factOf("B4", "lambda99") ?? 0.97 * virtualLambda99({ workers, line });
      run.fact("lambda99", highest);
      await work({ run, live, highest });
    },
  };
}

async function probe(
  { run, live }: Shape,
  options: { readonly name: string; readonly arrivals: ArrivalPlan; readonly meanwhile?: () => Promise<void> },
): Promise<SuiteProbe> {
  const result = await run.probe(live, { ...WORK, windowMs: WINDOW_MS, connections: 4096, ...options });
  const { name, openLoop } = result;
  run.check({ what: `${name}: neither answered nor shed`, value: openLoop.outcomes.failed, unit: "", atMost: 0 });
  return result;
}

/** Against the simulator, with the very same arrivals and all workers. */
async function checkGoodput({ run, live }: Shape, result: SuiteProbe, arrivals: ArrivalPlan): Promise<void> {
  const line = await live.measuredLine(DEVICE.name);
  const virtual = virtualShare({ workers: run.context.workers, line }, arrivals);
  run.check({
    what: `${result.name}: goodput ÷ the simulator's`,
    value: result.openLoop.attainedShare / virtual,
    unit: "",
    atLeast: 0.95,
  });
}

export const normal = shape(
  "normal",
  "Steady Poisson arrivals at 70 % of the highest rate that holds",
  async (given) => {
    const { run, highest } = given;
    const arrivals: ArrivalPlan = {
      kind: "poisson",
      ratePerSecond: NORMAL * highest,
      durationMs: run.durationMs(20),
      seed: run.context.seed,
    };
    const result = await probe(given, { name: "normal", arrivals });
    run.check({ what: "normal: in time", value: result.openLoop.attainedShare, unit: "", atLeast: 0.999 });
  },
);

export const peak = shape("peak", "Arrivals that double step by step, to beyond what can be done", async (given) => {
  const { run, highest } = given;
  const phases = Array.from({ length: PEAK_STEPS }, (_, step) => ({
    ratePerSecond: PEAK_FROM * highest * 2 ** step,
    durationMs: run.durationMs(STEP_SECONDS),
  }));
  const arrivals: ArrivalPlan = { kind: "phases", phases, seed: run.context.seed };
  await checkGoodput(given, await probe(given, { name: "peak", arrivals }), arrivals);
});

export const degraded = shape(
  "degraded",
  "A worker of four is killed at 60 % of the highest rate, and comes back",
  async (given) => {
    const { run, live, highest } = given;
    const durationMs = run.durationMs(16);
    const arrivals: ArrivalPlan = { kind: "poisson", ratePerSecond: 0.6 * highest, durationMs, seed: run.context.seed };
    const result = await probe(given, {
      name: "degraded",
      arrivals,
      meanwhile: async () => {
        await sleep(durationMs / 4);
        await live.system.kill("worker-1").back;
      },
    });
    const { attainedShare, planned } = result.openLoop;
    run.fact("degraded: missed", planned * (1 - attainedShare));
    // What one worker had, running and staged, runs again one by one and is late.
    run.check({ what: "degraded: in time", value: attainedShare, unit: "", atLeast: 0.97 });
  },
);

export const spike = shape("spike", `A jump to ${OUTSTANDING} requests outstanding`, async (given) => {
  const { run, highest } = given;
  const steady = { ratePerSecond: 0.5 * highest, durationMs: run.durationMs(5) };
  const jump = { ratePerSecond: OUTSTANDING * 200, durationMs: 5 };
  const arrivals: ArrivalPlan = { kind: "phases", phases: [steady, jump, steady], seed: run.context.seed };
  await checkGoodput(given, await probe(given, { name: "spike", arrivals }), arrivals);
});

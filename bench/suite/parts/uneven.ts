import { type ArrivalPhase, type ArrivalPlan } from "../../../tests/support/arrival-plan.ts";
import { SeededRandom } from "../../../tests/support/seeded-random.ts";
import { absoluteLimit, DEADLINE_MS, DEVICE } from "../device.ts";
import { virtualLambda99, virtualShare } from "../limit.ts";
import { LiveSystem } from "../live-system.ts";
import type { PartRow, PartRun } from "../part.ts";
import type { SuiteProbe } from "../results.ts";

const WORK = { model: DEVICE.name, deadlineMs: DEADLINE_MS };
const WINDOW_MS = 200;
/** Of the highest rate that holds: the mean of the uneven arrivals, and what goes before and after a spike. */
const MEAN = 0.75;
const STEADY = 0.5;
/** Rates of the two states, and how long they last in the mean. */
const STATES = [1.6, 0.4] as const;
const STATE_MS = 2_000;
const SPIKE_FACTOR = 10;
const SPIKE_MS = 2_000;

export const uneven: PartRow = {
  name: "B6",
  title: "Arrivals in two states, and ten times the load for two seconds",
  workers: [2],
  run: async (run) => {
    const { workers } = run.context;
    await using live = await LiveSystem.start({ workers, models: [DEVICE] });
    await run.warmUp(live, WORK, 0.7 * absoluteLimit(workers));
    const line = await live.measuredLine(DEVICE.name);
    const highest = run.context.factOf("B4", "lambda99") ?? 0.97 * virtualLambda99({ workers, line });
    const pool = { workers, line };
    const states: ArrivalPlan = { kind: "phases", phases: twoStates(run, MEAN * highest), seed: run.context.seed };
    const modulated = await run.probe(live, {
      name: "two states",
      ...WORK,
      arrivals: states,
      windowMs: WINDOW_MS,
      connections: 2048,
    });
    const ratio = modulated.openLoop.attainedShare / virtualShare(pool, states);
    run.check({ what: "two states: goodput ÷ the simulator's", value: ratio, unit: "", atLeast: 0.95 });
    const steady = STEADY * highest;
    const beforeMs = run.durationMs(4);
    const arrivals: ArrivalPlan = {
      kind: "phases",
      phases: [
        { ratePerSecond: steady, durationMs: beforeMs },
        { ratePerSecond: SPIKE_FACTOR * steady, durationMs: SPIKE_MS },
        { ratePerSecond: steady, durationMs: beforeMs },
      ],
      seed: run.context.seed,
    };
    const spike = await run.probe(live, { name: "spike", ...WORK, arrivals, windowMs: WINDOW_MS, connections: 4096 });
    const goodput = spike.openLoop.attainedShare / virtualShare(pool, arrivals);
    run.check({ what: "spike: goodput ÷ the simulator's", value: goodput, unit: "", atLeast: 0.95 });
    checkRecovery(run, spike, { beforeMs, endMs: beforeMs + SPIKE_MS });
    run.check({
      what: "neither answered nor shed",
      value: modulated.openLoop.outcomes.failed + spike.openLoop.outcomes.failed,
      unit: "",
      atMost: 0,
    });
  },
};

/** Stretches of exponential length, in turn of the high and the low state. */
function twoStates(run: PartRun, meanPerSecond: number): ArrivalPhase[] {
  const random = new SeededRandom(run.context.seed + 7);
  const phases: ArrivalPhase[] = [];
  let leftMs = run.durationMs(30);
  for (let i = 0; leftMs > 0; i++) {
    const durationMs = Math.min(leftMs, Math.max(100, -Math.log(1 - random.next()) * STATE_MS));
    phases.push({ ratePerSecond: STATES[i % 2]! * meanPerSecond, durationMs });
    leftMs -= durationMs;
  }
  return phases;
}

/** The first stretches that lie 2·D after the spike are to be as they were before it: all in time. */
function checkRecovery(
  run: PartRun,
  { openLoop }: SuiteProbe,
  at: { readonly beforeMs: number; readonly endMs: number },
): void {
  const windows = openLoop.windows ?? [];
  const settledMs = at.endMs + 2 * DEADLINE_MS;
  const share = (from: number, to: number): number => {
    const own = windows.filter(({ fromMs }) => fromMs >= from && fromMs + WINDOW_MS <= to);
    const sum = (pick: (one: (typeof own)[number]) => number): number =>
      own.reduce((total, one) => total + pick(one), 0);
    return (
      sum(({ outcomes }) => outcomes.attained) /
      Math.max(
        1,
        sum(({ outcomes: { attained, late, shed, failed } }) => attained + late + shed + failed),
      )
    );
  };
  run.fact("spike: in time before", share(0, at.beforeMs));
  run.check({
    what: "spike: in time from 2·D after it ÷ before it",
    value: share(settledMs, Infinity) / share(0, at.beforeMs),
    unit: "",
    atLeast: 0.99,
  });
}

import { DEADLINE_MS, DEVICE, absoluteLimit } from "../device.ts";
import { virtualGoodput, virtualLambda99 } from "../limit.ts";
import { LiveSystem } from "../live-system.ts";
import type { PartRow, PartRun } from "../part.ts";
import type { SuiteProbe } from "../results.ts";

const WORK = { model: DEVICE.name, deadlineMs: DEADLINE_MS };
const LIVE_FACTORS = [1.2, 2] as const;
/** Beyond what one machine can also generate. */
const VIRTUAL_FACTOR = 5;

export const overload: PartRow = {
  name: "B5",
  title: "Overload: goodput at 1.2, 2 and 5 times the highest rate that holds",
  workers: [1, 8],
  run: async (run) => {
    const { workers, seed } = run.context;
    await using live = await LiveSystem.start({ workers, models: [DEVICE] });
    await run.warmUp(live, WORK, 0.7 * absoluteLimit(workers));
    const line = await live.measuredLine(DEVICE.name);
    const limit = virtualLambda99({ workers, line });
    // Where B4 has not been run, the simulator's stands in for it.
    const highest = run.context.factOf("B4", "lambda99") ?? 0.97 * limit;
    run.fact("lambda99", highest);
    const at = (factor: number): Promise<SuiteProbe> => {
      const arrivals = {
        kind: "poisson",
        ratePerSecond: factor * highest,
        durationMs: run.durationMs(10),
        seed,
      } as const;
      return run.probe(live, { name: `${factor} × λ99`, ...WORK, arrivals, connections: 2048 });
    };
    const base = await at(1);
    for (const factor of LIVE_FACTORS) checkOverload(run, factor, { base, over: await at(factor) });
    const virtual =
      virtualGoodput({ workers, line }, VIRTUAL_FACTOR * limit) / virtualGoodput({ workers, line }, limit);
    run.check({
      what: `${VIRTUAL_FACTOR} × λ99 on the virtual clock: goodput ÷ that at λ99`,
      value: virtual,
      unit: "",
      atLeast: 0.95,
    });
  },
};

function checkOverload(
  run: PartRun,
  factor: number,
  { base, over }: { readonly base: SuiteProbe; readonly over: SuiteProbe },
): void {
  const { sheds, outcomes, planned } = over.openLoop;
  const at = `${factor} × λ99`;
  run.check({
    what: `${at}: goodput ÷ that at λ99`,
    value: over.goodputPerSecond / base.goodputPerSecond,
    unit: "",
    atLeast: 0.95,
  });
  run.check({ what: `${at}: refusals at the door, p99`, value: sheds.atDoorMs.p99, unit: "ms", atMost: 5 });
  run.check({
    what: `${at}: later sheds, p99 after the decision`,
    value: sheds.afterDecisionMs.p99,
    unit: "ms",
    atMost: 5,
  });
  run.check({
    what: `${at}: later sheds, the last of them`,
    value: sheds.laterMs.max,
    unit: "ms",
    atMost: DEADLINE_MS,
  });
  run.check({ what: `${at}: run and late, share of what ran`, value: over.lateRunShare, unit: "", atMost: 0.005 });
  run.check({ what: `${at}: neither answered nor shed`, value: outcomes.failed, unit: "", atMost: 0 });
  run.fact(`${factor} refused at the door, share`, sheds.atDoorMs.count / planned);
  run.fact(`${factor} shed later, share`, sheds.laterMs.count / planned);
  run.fact(`${factor} expired, share`, sheds.expired / planned);
}

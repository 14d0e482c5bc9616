import { OPTIONS as BROKER_OPTIONS } from "@millrace/broker/config";
import { OPTIONS as GATEWAY_OPTIONS } from "@millrace/gateway/config";
import { absoluteLimit, DEADLINE_MS, DEVICE } from "../device.ts";
import { virtualLambda99 } from "../limit.ts";
import { LiveSystem } from "../live-system.ts";
import type { PartRow, PartRun } from "../part.ts";
import type { SuiteProbe } from "../results.ts";

/** What each is to get of what can be done, as shares of the whole. */
const TENANTS = [
  { name: "first", weight: 1 },
  { name: "second", weight: 1 },
  { name: "third", weight: 2 },
] as const;
const WEIGHTS = TENANTS.reduce((sum, { weight }) => sum + weight, 0);
/** The first of them asks for so many times its part. */
const FLOOD = 10;
/** What a tenant that behaves asks for, and one that is to be backlogged. */
const WELL_BEHAVED = 0.8;
const BACKLOGGED = 1.5;

export const tenants: PartRow = {
  name: "B11",
  title: `Three tenants with weights 1, 1 and 2, the first with ${FLOOD} times its part`,
  workers: [2],
  missing: () =>
    Object.hasOwn(BROKER_OPTIONS, "tenantWeights") && Object.hasOwn(GATEWAY_OPTIONS, "trustTenant")
      ? ""
      : "this version has no tenants",
  run: async (run) => {
    const { workers } = run.context;
    const weights = TENANTS.map(({ name, weight }) => `${name}=${weight}`).join(",");
    await using live = await LiveSystem.start({ workers, models: [DEVICE], args: ["--tenant-weights", weights] });
    await run.warmUp(live, { model: DEVICE.name, deadlineMs: DEADLINE_MS }, 0.7 * absoluteLimit(workers));
    const line = await live.measuredLine(DEVICE.name);
    const highest = run.context.factOf("B4", "lambda99") ?? 0.97 * virtualLambda99({ workers, line });
    const load = (what: string, parts: readonly number[]): Promise<SuiteProbe[]> =>
      probeTenants(run, live, { what, parts, highest });
    const calm = await load("calm", [WELL_BEHAVED, WELL_BEHAVED, WELL_BEHAVED]);
    const flooded = await load("flooded", [FLOOD, WELL_BEHAVED, WELL_BEHAVED]);
    for (const victim of [1, 2]) {
      const [before, after] = [calm[victim]!.openLoop, flooded[victim]!.openLoop];
      const { name } = TENANTS[victim]!;
      run.check({
        what: `${name}: p99 beside the flood ÷ without it`,
        value: after.okLatencyMs.p99 / before.okLatencyMs.p99,
        unit: "",
        atMost: 1.1,
      });
      run.check({ what: `${name}: in time beside the flood`, value: after.attainedShare, unit: "", atLeast: 0.95 });
    }
    const backlogged = await load("all backlogged", [FLOOD, BACKLOGGED, BACKLOGGED]);
    const whole = backlogged.reduce((sum, { goodputPerSecond }) => sum + goodputPerSecond, 0);
    for (const [i, { name, weight }] of TENANTS.entries()) {
      const share = backlogged[i]!.goodputPerSecond / whole / (weight / WEIGHTS);
      run.check({
        what: `all backlogged: what ${name} got ÷ its part`,
        value: share,
        unit: "",
        atLeast: 0.95,
        atMost: 1.05,
      });
    }
  },
};

/** All three at once, each with a number of times its part of what can be done. */
async function probeTenants(
  run: PartRun,
  live: LiveSystem,
  { what, parts, highest }: { readonly what: string; readonly parts: readonly number[]; readonly highest: number },
): Promise<SuiteProbe[]> {
  return run.probeTogether(
    live,
    TENANTS.map(({ name, weight }, i) => ({
      name: `${what}: ${name}`,
      model: DEVICE.name,
      deadlineMs: DEADLINE_MS,
      headers: { "x-tenant": name },
      connections: 2048,
      arrivals: {
        kind: "poisson",
        ratePerSecond: parts[i]! * (weight / WEIGHTS) * highest,
        durationMs: run.durationMs(12),
        seed: run.context.seed + i,
      },
    })),
  );
}

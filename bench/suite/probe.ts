import { type ArrivalPlan, planArrivals } from "../../tests/support/arrival-plan.ts";
import { prepareLoad } from "../../tests/support/load.ts";
import type { LoadReport } from "../../tests/support/load-plan.ts";
import { cpuBetween, readCpu, readMachineCpuMs } from "../process-usage.ts";
import { GENERATOR } from "./generator.ts";
import type { LiveSystem } from "./live-system.ts";
import type { CoresUsed, SuiteProbe } from "./results.ts";

export type ProbeOptions = {
  readonly name: string;
  readonly model: string;
  readonly arrivals: ArrivalPlan;
  readonly deadlineMs: number;
  /** Requests have 1 to this many rows; default 1. */
  readonly rowsMax?: number;
  /** Requests that can be outstanding; default 1,024. */
  readonly connections?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Report stretches of that length, too. */
  readonly windowMs?: number;
  readonly seed?: number;
  /** Is called when the first requests are about to leave; what it does is awaited. */
  readonly meanwhile?: () => Promise<void>;
};

const ANSWER_GRACE_MS = 30_000;

/** An answer that is not what the model gives for its rows, or belongs to nobody: no figure of such a system counts. */
export class WrongAnswer extends Error {
  override readonly name = "WrongAnswer";
}

/**
 * Drives one open loop through a live system, every answer checked, in a process of its own.
 * @throws {WrongAnswer} at a wrong answer.
 */
export async function probe(live: LiveSystem, options: ProbeOptions): Promise<SuiteProbe> {
  const [result] = await probeTogether(live, [options]);
  return result!;
}

/** Several open loops at one time. What processes used is that of all of them, and told with each. */
export async function probeTogether(live: LiveSystem, options: readonly ProbeOptions[]): Promise<SuiteProbe[]> {
  const rowsBefore = await Promise.all(options.map(({ model }) => live.sentRows(model)));
  await using stack = new AsyncDisposableStack();
  const loads = await Promise.all(options.map((one) => prepareLoad(toPlan(live, one), GENERATOR)));
  for (const load of loads) stack.use(load);
  await Promise.all(loads.map((load) => load.start()));
  const cpuBefore = readCpu(live.system.process.tree());
  const [machineMs, startMs] = [readMachineCpuMs(), performance.now()];
  const [reports] = await Promise.all([
    Promise.all(loads.map(({ report }) => report)),
    ...options.map(({ meanwhile }) => meanwhile?.()),
  ]);
  const elapsedMs = performance.now() - startMs;
  const used = cpuBetween(cpuBefore, readCpu(live.system.process.tree()));
  const usedMs = Object.values(used).reduce((sum, one) => sum + one, 0);
  const loadMs = reports.reduce((sum, { cpuMs }) => sum + cpuMs, 0);
  const cores: CoresUsed = {
    byProcess: Object.fromEntries(Object.entries(used).map(([name, ms]) => [name, ms / elapsedMs])),
    load: loadMs / elapsedMs,
    others: Math.max(0, (readMachineCpuMs() - machineMs - usedMs - loadMs) / elapsedMs),
  };
  const rowsAfter = await Promise.all(options.map(({ model }) => live.sentRows(model)));
  // Loads of one model share its runs: what ran and was late is told of all of them.
  const lateOf = (model: string): number => {
    const own = options.flatMap((one, i) => (one.model === model ? [i] : []));
    const sent = (rowsAfter[own[0]!] ?? 0) - (rowsBefore[own[0]!] ?? 0);
    const inTime = own.reduce((sum, i) => sum + inTimeRows(reports[i]!), 0);
    return sent === 0 ? 0 : Math.max(0, 1 - inTime / sent);
  };
  return reports.map((report, i) => {
    const lateRunShare = lateOf(options[i]!.model);
    return toProbe(options[i]!, report, { workers: live.workers, cores, lateRunShare });
  });
}

function inTimeRows({ identity, openLoop }: LoadReport): number {
  const { attained = 0, late = 0 } = openLoop?.outcomes ?? {};
  return (identity.rows * attained) / Math.max(1, attained + late);
}

/** @throws {WrongAnswer} where an answer is wrong, doubled or missing. */
export function assertRight(name: string, { identity, faults, firstFaults }: LoadReport): void {
  const { mismatches, firstMismatches } = identity;
  if (mismatches > 0) throw new WrongAnswer(`${name}: ${mismatches} wrong answers: ${JSON.stringify(firstMismatches)}`);
  if (faults > 0) throw new WrongAnswer(`${name}: ${faults} requests without an answer: ${firstFaults.join("; ")}`);
}

function toPlan(live: LiveSystem, options: ProbeOptions): Parameters<typeof prepareLoad>[0] {
  const { model, arrivals, deadlineMs, rowsMax = 1, connections = 1024, headers, windowMs, seed = 1 } = options;
  return {
    urls: live.system.urls,
    connections,
    requests: Number.MAX_SAFE_INTEGER,
    pools: [live.poolOf(model)],
    seed,
    rowsMax,
    // Made before the first one leaves, and each sent once.
    prebuilt: planArrivals(arrivals).length,
    // What a server may still answer in time is waited for, however busy the machine.
    answerTimeoutMs: deadlineMs + ANSWER_GRACE_MS,
    open: { arrivals, deadlineMs, ...(windowMs === undefined ? {} : { windowMs }) },
    ...(headers === undefined ? {} : { headers }),
    warmUp: live.warmUp,
  };
}

function toProbe(
  { name, model, arrivals }: ProbeOptions,
  report: LoadReport,
  parts: Pick<SuiteProbe, "workers" | "cores" | "lateRunShare">,
): SuiteProbe {
  const { identity, openLoop } = report;
  assertRight(name, report);
  if (openLoop === undefined) throw new Error(`${name}: no open loop`);
  const seconds = durationMs(arrivals) / 1000;
  const { planned, outcomes } = openLoop;
  const sizes = identity.batches[model];
  return {
    name,
    ...parts,
    ratePerSecond: planned / seconds,
    goodputPerSecond: outcomes.attained / seconds,
    seconds,
    openLoop,
    meanBatchRows: sizes?.meanRows ?? 0,
    retried: identity.retried,
  };
}

/** How long requests are due; of a burst, by convention, a second. */
function durationMs(plan: ArrivalPlan): number {
  switch (plan.kind) {
    case "poisson":
      return plan.durationMs;
    case "phases":
      return plan.phases.reduce((sum, phase) => sum + phase.durationMs, 0);
    case "burst":
      return 1000;
  }
}

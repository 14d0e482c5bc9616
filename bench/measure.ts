import { availableParallelism } from "node:os";
import type { LoadDriver } from "./load-driver.ts";
import { cpuBetween, memoryMbOf, readCpu, readMachineCpuMs } from "./process-usage.ts";
import type { Measurement } from "./results.ts";
import type { RunReading, Side, SideRow } from "./side.ts";

/** One turn: which side, under which load, in which round, for how long. */
export type Turn = {
  readonly workload: string;
  readonly row: SideRow;
  readonly side: Side;
  readonly driver: LoadDriver;
  readonly round: number;
  readonly ms: number;
  /** Of an open loop. */
  readonly ratePerSecond?: number;
};

/** Loads a side and reads what it used meanwhile. @throws Error as the driver does. */
export async function measure(turn: Turn): Promise<Measurement> {
  const { workload, row, side, driver, round, ms, ratePerSecond } = turn;
  const rate = ratePerSecond === undefined ? {} : { ratePerSecond };
  const runsBefore = await side.readRuns?.();
  let before = readCpu([]);
  let [machineMs, startMs] = [0, 0];
  const onBegin = (): void => {
    before = readCpu(side.processes());
    [machineMs, startMs] = [readMachineCpuMs(), performance.now()];
  };
  const { cpuMs: loadCpuMs, openLoop, ...load } = await driver.run(row, side, { ms, round, onBegin, ...rate });
  const processes = side.processes();
  const used = cpuBetween(before, readCpu(processes));
  const usedMs = Object.values(used).reduce((sum, one) => sum + one, 0);
  const othersMs = readMachineCpuMs() - machineMs - usedMs - loadCpuMs;
  const othersShare = Math.max(0, othersMs / ((performance.now() - startMs) * availableParallelism()));
  const runs = differenceOf(runsBefore, await side.readRuns?.());
  const perAnswerUs = (cpuMs: number): number => (cpuMs * 1000) / load.answers;
  return {
    workload,
    side: row.name,
    round,
    ...load,
    perSecond: load.answers / (load.elapsedMs / 1000),
    ...rate,
    cpuUs: perAnswerUs(usedMs),
    cpuUsByProcess: Object.fromEntries(Object.entries(used).map(([name, cpuMs]) => [name, perAnswerUs(cpuMs)])),
    loadCpuUs: perAnswerUs(loadCpuMs),
    othersShare,
    memoryMb: memoryMbOf(processes),
    ...(openLoop === undefined ? {} : { openLoop }),
    ...(runs === undefined || runs.runs === 0
      ? {}
      : {
          meanBatchRows: runs.rows / runs.runs,
          runRowsPerSecond: runs.rows / runs.seconds,
          // The clock of threads ticks every 10 ms.
          ...(runs.cpuSeconds > 0 ? { runRowsPerCpuSecond: runs.rows / runs.cpuSeconds } : {}),
        }),
  };
}

function differenceOf(before: RunReading | undefined, after: RunReading | undefined): RunReading | undefined {
  if (before === undefined || after === undefined) return undefined;
  return {
    runs: after.runs - before.runs,
    rows: after.rows - before.rows,
    seconds: after.seconds - before.seconds,
    cpuSeconds: after.cpuSeconds - before.cpuSeconds,
  };
}

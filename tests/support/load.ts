import { fork } from "node:child_process";
import { join } from "node:path";
import type { LoadCommand, LoadEvent, LoadPlan, LoadProgress, LoadReport } from "./load-plan.ts";
import { NODE } from "./repository.ts";

/** A checked load that runs in a process of its own. Leaving its scope ends it, finished or not. */
export type RunningLoad = AsyncDisposable & {
  readonly pid: number;
  /** The end of the load; rejects where the process failed. */
  readonly report: Promise<LoadReport>;
  /** Resolves when the progress fits (at the latest when the load ends); rejects where the load failed. */
  progressed(fits: (progress: LoadProgress) => boolean): Promise<LoadProgress>;
  /** Starts no request any more, awaits the answers under way, and reports. */
  stop(): Promise<LoadReport>;
};

export type LoadPlace = {
  /** A program that starts the load, with its arguments: into another network, with another priority. */
  readonly through?: readonly string[];
};

/** Starts a load, and resolves when its first requests go out. */
export async function startLoad(plan: LoadPlan, place: LoadPlace = {}): Promise<RunningLoad> {
  const load = await prepareLoad(plan, place);
  await load.start();
  return load;
}

/** A load that has done all that comes before its first request. `start` resolves when that goes out. */
export type PreparedLoad = RunningLoad & { start(): Promise<void> };

/** Of several loads none begins while another one still warms up. */
export async function prepareLoad(plan: LoadPlan, { through = [] }: LoadPlace = {}): Promise<PreparedLoad> {
  const program = join(import.meta.dirname, "load-process.ts");
  const argv = [...through, NODE];
  const child = fork(program, { execPath: argv[0]!, execArgv: argv.slice(1) });
  const tell = (command: LoadCommand): void => void child.send(command);
  const prepared = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  const report = Promise.withResolvers<LoadReport>();
  // Whoever does not await the report hears of its failure elsewhere.
  report.promise.catch(() => {});
  let last: LoadProgress = { answers: 0, notOk: 0, mismatches: 0 };
  const waiting = new Set<(isOver: boolean) => void>();
  const heard = (isOver: boolean): void => {
    for (const check of waiting) check(isOver);
  };
  child.on("message", (event: LoadEvent) => {
    if (event.type === "prepared") prepared.resolve();
    else if (event.type === "started") started.resolve();
    else if (event.type === "failed") report.reject(new Error(`the load failed: ${event.error}`));
    else if (event.type === "done") {
      report.resolve(event.report);
      heard(true);
    } else {
      last = event;
      heard(false);
    }
  });
  child.on("exit", (code, signal) => {
    report.reject(new Error(`the load process ended with ${signal ?? code}`));
    heard(true);
  });
  const progressed = (fits: (progress: LoadProgress) => boolean): Promise<LoadProgress> => {
    const { promise, resolve } = Promise.withResolvers<LoadProgress>();
    const check = (isOver: boolean): void => {
      if (!isOver && !fits(last)) return;
      waiting.delete(check);
      resolve(last);
    };
    waiting.add(check);
    check(false);
    return promise;
  };
  tell({ type: "prepare", plan });
  await Promise.race([prepared.promise, report.promise]);
  return {
    start: async () => {
      if (child.connected) tell({ type: "start" });
      await Promise.race([started.promise, report.promise]);
    },
    pid: child.pid ?? 0,
    report: report.promise,
    progressed,
    stop: () => {
      if (child.connected) tell({ type: "stop" });
      return report.promise;
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
      child.kill("SIGKILL");
      await exited;
    },
  };
}

/** Runs a load to its end. */
export async function runCheckedLoad(plan: LoadPlan, place: LoadPlace = {}): Promise<LoadReport> {
  await using load = await startLoad(plan, place);
  return await load.report;
}

/** Asserts in one place what every load must show, with the evidence in the message. */
export function assertAllRight({ identity, faults, firstFaults }: LoadReport): void {
  const statuses = Object.keys(identity.statuses);
  if (identity.mismatches === 0 && faults === 0 && statuses.join() === "200") return;
  const evidence = {
    mismatches: identity.mismatches,
    firstMismatches: identity.firstMismatches,
    statuses: identity.statuses,
    firstErrors: identity.firstErrors,
    faults,
    firstFaults,
  };
  throw new Error(`not every answer is 200 and right: ${JSON.stringify(evidence, undefined, 2)}`);
}

/** One line for the test's output: what the load was and what it met. */
export function describeLoad({ identity, elapsedMs, latencyMs, faults, reconnects }: LoadReport): string {
  const batches = Object.entries(identity.batches).map(
    ([model, { runs, meanRows, meanRequests }]) =>
      `${model} ${runs} runs of ${meanRows.toFixed(1)} rows (${meanRequests.toFixed(1)} requests)`,
  );
  return [
    `${identity.requests} requests, ${identity.rows} rows in ${(elapsedMs / 1000).toFixed(1)} s`,
    `${identity.mismatches} mismatches, ${faults} faults, ${reconnects} reconnects`,
    `status ${JSON.stringify(identity.statuses)}, ${identity.retried} retried`,
    `ms p50 ${latencyMs.p50.toFixed(1)} p99 ${latencyMs.p99.toFixed(1)} max ${latencyMs.max.toFixed(1)}`,
    ...batches,
  ].join("; ");
}

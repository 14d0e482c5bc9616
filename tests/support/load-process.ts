/**
 * The program of the load process: a checked closed or open loop in a process of its own, so that neither what it measures nor the
 * test shares its thread. It is started by `startLoad` and speaks with it over IPC.
 */
import { planArrivals } from "./arrival-plan.ts";
import { type LoadResult, type LoadSource, runLoad, toPostBytes } from "./load-generator.ts";
import type { LoadCommand, LoadEvent, LoadPlan, LoadReport, LoadWarmUp } from "./load-plan.ts";
import { runOpenLoad } from "./open-loop.ts";
import { type CheckedRequest, RowIdentityChecker } from "./row-identity.ts";
import { buildRowPool } from "./row-pool.ts";

type Request = { readonly bytes: Uint8Array; readonly context: CheckedRequest };

const PROGRESS_EVERY_MS = 100;

const abort = new AbortController();

function tell(event: LoadEvent): void {
  process.send?.(event);
}

/** Resolves when the load may begin. */
const mayStart = Promise.withResolvers<void>();

/** @throws Error where an answer is wrong or missing. */
async function warmUp({ urls }: LoadPlan, { pool, arrivals, connections }: LoadWarmUp): Promise<void> {
  const checker = new RowIdentityChecker({ pools: [await buildRowPool(pool)], seed: pool.seed, rowsMax: 1 });
  const { faults, firstFaults } = await runOpenLoad({
    urls,
    connections,
    arrivalsMs: planArrivals(arrivals),
    deadlineMs: Infinity,
    signal: abort.signal,
    source: {
      next: () => {
        const context = checker.next();
        return { bytes: toPostBytes(context.path, context.body, context.headers), context };
      },
      onAnswer: (request, answer) => checker.check(request, answer),
    },
  });
  const { mismatches, firstMismatches } = checker.report();
  if (faults + mismatches > 0)
    throw new Error(`wrong before it counts: ${JSON.stringify({ firstMismatches, firstFaults })}`);
}

async function run(plan: LoadPlan): Promise<LoadReport> {
  if (plan.warmUp !== undefined) await warmUp(plan, plan.warmUp);
  const pools = [];
  for (const pool of plan.pools) pools.push(await buildRowPool(pool));
  const checker = new RowIdentityChecker({
    pools,
    seed: plan.seed,
    ...pick(plan, "rowsMax"),
    ...pick(plan, "runRowsMax"),
    ...pick(plan, "isTimed"),
    ...pick(plan, "form"),
  });
  const make = (): Request => {
    const context = checker.next();
    return { bytes: toPostBytes(context.path, context.body, { ...plan.headers, ...context.headers }), context };
  };
  const prebuilt = Array.from({ length: plan.prebuilt ?? 0 }, make);
  const checkEvery = plan.checkEvery ?? 1;
  let left = plan.requests;
  let answers = 0;
  let notOk = 0;
  tell({ type: "prepared" });
  await mayStart.promise;
  const progress = (): void => tell({ type: "progress", answers, notOk, mismatches: checker.mismatches });
  const timer = setInterval(progress, PROGRESS_EVERY_MS);
  const cpuBefore = process.cpuUsage();
  const result = await drive(plan, {
    next: () => {
      if (left === 0) return undefined;
      left -= 1;
      // In the order in which they were made.
      return prebuilt[(plan.requests - left - 1) % prebuilt.length] ?? make();
    },
    onAnswer: (request, answer) => {
      answers += 1;
      if (answer.status !== 200) notOk += 1;
      if (answer.status !== 200 || answers % checkEvery === 0) checker.check(request, answer);
    },
  });
  clearInterval(timer);
  progress();
  const cpu = process.cpuUsage(cpuBefore);
  return { ...result, identity: checker.report(), cpuMs: (cpu.user + cpu.system) / 1000 };
}

function drive(plan: LoadPlan, source: LoadSource<CheckedRequest>): Promise<LoadResult> {
  const { urls, connections, open } = plan;
  const options = { urls, connections, ...pick(plan, "answerTimeoutMs"), signal: abort.signal, source };
  const onStart = (): void => tell({ type: "started" });
  if (open === undefined) {
    onStart();
    return runLoad({ ...options, ...pick(plan, "durationMs"), ...pick(plan, "thinkMs") });
  }
  const { arrivals, ...rest } = open;
  return runOpenLoad({ ...options, ...rest, arrivalsMs: planArrivals(arrivals), onStart });
}

/** An optional property, only where it is there. */
function pick<Key extends keyof LoadPlan>(
  plan: LoadPlan,
  key: Key,
): { readonly [K in Key]?: NonNullable<LoadPlan[K]> } {
  return (plan[key] === undefined ? {} : { [key]: plan[key] }) as { readonly [K in Key]?: NonNullable<LoadPlan[K]> };
}

process.on("disconnect", () => process.exit(1));
process.on("message", (command: LoadCommand) => {
  if (command.type === "stop") return abort.abort();
  if (command.type === "start") return mayStart.resolve();
  run(command.plan).then(
    (report) => tell({ type: "done", report }),
    (error: unknown) => tell({ type: "failed", error: error instanceof Error ? (error.stack ?? "") : String(error) }),
  );
});

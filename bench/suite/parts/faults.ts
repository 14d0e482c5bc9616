import { setTimeout as sleep } from "node:timers/promises";
import type { ArrivalPlan } from "../../../tests/support/arrival-plan.ts";
import type { OpenLoopReport } from "../../../tests/support/open-loop-account.ts";
import { absoluteLimit, DEADLINE_MS, DEVICE, LINE, ROWS_MAX } from "../device.ts";
import { LiveSystem } from "../live-system.ts";
import type { PartRow, PartRun } from "../part.ts";
import type { SuiteProbe } from "../results.ts";

const WORK = { model: DEVICE.name, deadlineMs: DEADLINE_MS };
const WINDOW_MS = 500;

/** Shares of what no policy exceeds that have to hold all the same: aims, which leave a policy room for what it cannot know. */
const WITH_SLOW_WORKER = 0.65;
const WITH_PAUSES = 0.75;
const PAUSE_MS = 500;
/** Of one worker; they take turns. */
const PAUSE_EVERY_MS = 20_000;
const KILLS = 3;
/** A restarted process is back, and serves, in less. */
const KILL_EVERY_MS = 5_000;
/** From when on a process that is back must be as good as before: its peers have found it. */
const RETURNED_MS = 1_000;

async function probe(
  run: PartRun,
  live: LiveSystem,
  options: {
    readonly name: string;
    readonly load: number;
    readonly seconds: number;
    readonly meanwhile?: (durationMs: number) => Promise<void>;
  },
): Promise<SuiteProbe> {
  const { name, load, seconds, meanwhile } = options;
  const durationMs = run.durationMs(seconds);
  const arrivals: ArrivalPlan = {
    kind: "poisson",
    ratePerSecond: load * absoluteLimit(run.context.workers),
    durationMs,
    seed: run.context.seed,
  };
  const result = await run.probe(live, {
    name,
    ...WORK,
    arrivals,
    windowMs: WINDOW_MS,
    connections: 4096,
    ...(meanwhile === undefined ? {} : { meanwhile: () => meanwhile(durationMs) }),
  });
  run.check({
    what: `${name}: neither answered nor shed`,
    value: result.openLoop.outcomes.failed,
    unit: "",
    atMost: 0,
  });
  return result;
}

export const slowWorker: PartRow = {
  name: "B9-slow",
  title: "One worker of eight takes twice as long",
  workers: [8],
  run: async (run) => {
    const { workers } = run.context;
    await using live = await LiveSystem.start({ workers: workers - 1, models: [DEVICE] });
    await live.addWorker([{ ...DEVICE, runMs: 2 * LINE.fixedMs, rowMs: 2 * LINE.rowMs }]);
    await run.warmUp(live, WORK, 0.6 * absoluteLimit(workers));
    const { openLoop } = await probe(run, live, { name: "slow worker", load: WITH_SLOW_WORKER, seconds: 12 });
    run.check({
      what: `in time at ${WITH_SLOW_WORKER} of λ_abs`,
      value: openLoop.attainedShare,
      unit: "",
      atLeast: 0.99,
    });
  },
};

export const pauses: PartRow = {
  name: "B9-pauses",
  title: `Every worker stands still for ${PAUSE_MS} ms every ${PAUSE_EVERY_MS / 1000} s`,
  workers: [8],
  run: async (run) => {
    const { workers } = run.context;
    await using live = await LiveSystem.start({ workers, models: [DEVICE] });
    await run.warmUp(live, WORK, 0.6 * absoluteLimit(workers));
    const pauseInTurn = async (durationMs: number): Promise<void> => {
      const untilMs = performance.now() + durationMs;
      for (let i = 0; performance.now() < untilMs; i++) {
        const pid = live.system.pidOf(`worker-${1 + (i % workers)}`);
        process.kill(pid, "SIGSTOP");
        try {
          await sleep(PAUSE_MS);
        } finally {
          process.kill(pid, "SIGCONT");
        }
        await sleep(Math.max(0, PAUSE_EVERY_MS / workers - PAUSE_MS));
      }
    };
    const { openLoop } = await probe(run, live, {
      name: "pauses",
      load: WITH_PAUSES,
      seconds: 20,
      meanwhile: pauseInTurn,
    });
    run.check({ what: `in time at ${WITH_PAUSES} of λ_abs`, value: openLoop.attainedShare, unit: "", atLeast: 0.99 });
  },
};

/** When a process was killed, and was there again, from the start of the load. */
type Kill = { readonly atMs: number; readonly backMs: number };

/** Kills a process again and again while the load lasts; each time it is awaited that it is back. */
async function killAgain(live: LiveSystem, nameOf: (kill: number) => string): Promise<Kill[]> {
  const startMs = performance.now();
  const kills: Kill[] = [];
  while (kills.length < KILLS) {
    await sleep(KILL_EVERY_MS / 2);
    const { back } = live.system.kill(nameOf(kills.length));
    const atMs = performance.now() - startMs;
    await back;
    kills.push({ atMs, backMs: performance.now() - startMs });
    await sleep(KILL_EVERY_MS / 2);
  }
  return kills;
}

/** Of the requests that were due in the windows between two times, the share that was answered in time; 0 where none was due. */
function shareBetween({ windows = [] }: OpenLoopReport, fromMs: number, toMs: number): number {
  const own = windows.filter((window) => window.fromMs >= fromMs && window.fromMs + WINDOW_MS <= toMs);
  const outcomes = own.map((window) => window.outcomes);
  const due = outcomes.reduce((sum, { attained, late, shed, failed }) => sum + attained + late + shed + failed, 0);
  return outcomes.reduce((sum, { attained }) => sum + attained, 0) / Math.max(1, due);
}

/** Long enough for the kills, whatever the scale. */
const KILL_SECONDS = (KILLS * KILL_EVERY_MS) / 1000 + 3;

export const killedWorker: PartRow = {
  name: "B9-kill",
  title: `kill -9 of a worker, ${KILLS} times`,
  workers: [4],
  run: async (run) => {
    const { workers, scale } = run.context;
    await using live = await LiveSystem.start({ workers, models: [DEVICE], logLevel: "info" });
    await run.warmUp(live, WORK, 0.5 * absoluteLimit(workers));
    let kills: readonly Kill[] = [];
    const seconds = KILL_SECONDS / scale;
    const { openLoop, retried } = await probe(run, live, {
      name: "kill -9",
      load: 0.4,
      seconds,
      meanwhile: async () => void (kills = await killAgain(live, (kill) => `worker-${1 + (kill % workers)}`)),
    });
    const { late, shed } = openLoop.outcomes;
    run.fact("retried", retried);
    run.check({
      what: "requests late or shed, a kill",
      value: (late + shed) / kills.length,
      unit: "",
      atMost: ROWS_MAX,
    });
  },
};

export const restartedBroker: PartRow = {
  name: "B9-restart",
  title: `kill -9 of the broker, ${KILLS} times`,
  workers: [2],
  run: async (run) => {
    const { workers, scale } = run.context;
    await using live = await LiveSystem.start({ workers, models: [DEVICE], logLevel: "info" });
    await run.warmUp(live, WORK, 0.5 * absoluteLimit(workers));
    let kills: readonly Kill[] = [];
    const { openLoop } = await probe(run, live, {
      name: "broker restarts",
      load: 0.4,
      seconds: KILL_SECONDS / scale,
      meanwhile: async () => void (kills = await killAgain(live, () => "broker-1")),
    });
    // Without a broker nothing can be in time: what its absence costs is told, and that it costs nothing afterwards is held.
    run.fact("missed while the broker was away, share", 1 - openLoop.attainedShare);
    // What was due just before a kill is lost with it.
    const ends = [...kills.slice(1).map(({ atMs }) => atMs - WINDOW_MS), Infinity];
    const shares = kills.map(({ backMs }, i) => shareBetween(openLoop, backMs + RETURNED_MS, ends[i]!));
    const what = `in time from ${RETURNED_MS / 1000} s after each return on, the least`;
    run.check({ what, value: Math.min(...shares), unit: "", atLeast: 0.99 });
  },
};

/** Workers get a quarter of the time for a while: stopped for so long, and running for so long, in turn. */
const STOPPED_MS = 150;
const GOING_MS = 50;
const SPELL_FROM_MS = 5_000;
const SPELL_MS = 4_000;
/** How long the system is looked at afterwards, and from when on. */
const AFTER_MS = 10_000;
const SETTLED_MS = 3_000;

/** The machine was busy with something else: what was measured then must not be believed for ever. */
export const slowSpell: PartRow = {
  name: "B9-spell",
  title: `All workers are four times as slow for ${SPELL_MS / 1000} s: as much is answered afterwards as before`,
  workers: [4],
  run: async (run) => {
    const { workers, scale } = run.context;
    await using live = await LiveSystem.start({ workers, models: [DEVICE] });
    await run.warmUp(live, WORK, 0.5 * absoluteLimit(workers));
    const slowDown = async (): Promise<void> => {
      const pids = Array.from({ length: workers }, (_, i) => live.system.pidOf(`worker-${i + 1}`));
      await sleep(SPELL_FROM_MS);
      for (const untilMs = performance.now() + SPELL_MS; performance.now() < untilMs;) {
        for (const pid of pids) process.kill(pid, "SIGSTOP");
        try {
          await sleep(STOPPED_MS);
        } finally {
          for (const pid of pids) process.kill(pid, "SIGCONT");
        }
        await sleep(GOING_MS);
      }
    };
    const seconds = (SPELL_FROM_MS + SPELL_MS + AFTER_MS) / 1000 / scale;
    const { openLoop } = await probe(run, live, { name: "slow spell", load: 0.7, seconds, meanwhile: slowDown });
    const before = shareBetween(openLoop, SPELL_FROM_MS / 2, SPELL_FROM_MS - WINDOW_MS);
    const after = shareBetween(openLoop, SPELL_FROM_MS + SPELL_MS + SETTLED_MS, Infinity);
    run.fact("in time before", before);
    run.fact("in time after", after);
    run.check({ what: "in time after the slow spell ÷ before it", value: after / before, unit: "", atLeast: 0.95 });
  },
};

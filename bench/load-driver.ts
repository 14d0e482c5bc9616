import { runCheckedLoad, startLoad } from "../tests/support/load.ts";
import type { LoadPlan, LoadReport } from "../tests/support/load-plan.ts";
import type { RequestFormName } from "../tests/support/request-form.ts";
import { buildRowPool, type RowPool, type RowPoolOptions } from "../tests/support/row-pool.ts";
import type { Latency } from "./results.ts";
import type { ServedModel, Side, SideRow } from "./side.ts";
import type { LoadShape } from "./workloads.ts";
import { WrkLoad, type WrkReport } from "./wrk.ts";

/** What a load of one side came to. Times in milliseconds; `cpuMs` is the generators' own. */
export type Load = {
  readonly answers: number;
  readonly elapsedMs: number;
  readonly latencyMs: Latency;
  readonly cpuMs: number;
  readonly checked: number;
  readonly openLoop?: LoadReport["openLoop"];
};

/** `ratePerSecond` is that of an open loop. */
export type LoadTurn = {
  readonly ms: number;
  readonly round: number;
  readonly ratePerSecond?: number;
  readonly onBegin: () => void;
};

export type LoadDriverOptions = {
  readonly model: ServedModel;
  readonly shape: LoadShape;
  /** Requests that differ. */
  readonly rows: number;
  /** Where scripts of wrk go. */
  readonly folder: string;
};

/** Answers that are checked before a lone connection is measured, as nothing may run beside it. */
const CHECKED_BEFORE = 100;
/** One answer in this many is checked where our generator makes all of the load. */
const CHECK_EVERY = 20;

const ALL_OK: ReadonlySet<string> = new Set(["200"]);
/** Under an open loop a server may shed, and may break connections; both are counted. */
const MAY_REFUSE: ReadonlySet<string> = new Set(["200", "408", "429", "503", "504"]);

/** A request that finds all of them taken would wait for one: as many as can be outstanding in a second and more. */
const OPEN_CONNECTIONS = 1_024;

/**
 * A closed loop begins with so much that does not count, in milliseconds: connections are made, and what lay idle while others had their
 * turns is awake again.
 */
const RAMP_MS = 1_000;

/** Of the deadline of an open loop; the rest is for the way to the server and back. */
const BUDGET_SHARE = 0.95;

/**
 * Loads sides with one workload. A closed loop is wrk's, which leaves most of the machine to what is measured, and one connection
 * of our own beside it checks each of its answers; open loops and bursts are our own, a share of the answers checked.
 */
export class LoadDriver {
  readonly #options: LoadDriverOptions;
  readonly #pool: RowPool;
  readonly #poolOptions: RowPoolOptions;
  readonly #wrk = new Map<RequestFormName, WrkLoad>();

  private constructor(options: LoadDriverOptions, poolOptions: RowPoolOptions, pool: RowPool) {
    this.#options = options;
    this.#poolOptions = poolOptions;
    this.#pool = pool;
  }

  static async prepare(options: LoadDriverOptions): Promise<LoadDriver> {
    const poolOptions = { model: options.model.name, path: options.model.file, rows: options.rows, seed: 5 };
    return new LoadDriver(options, poolOptions, await buildRowPool(poolOptions));
  }

  /**
   * Loads a side for so long (a burst: once); `round` seeds the arrivals of an open loop, the same for all sides. `onBegin` is
   * called when what is made beforehand has been made, and just before requests go out.
   * @throws Error where an answer is wrong, or has a status that is neither 200 nor, under an open loop, a refusal for load.
   */
  async run(row: SideRow, side: Side, turn: LoadTurn): Promise<Load> {
    const { shape } = this.#options;
    const { ms, round, onBegin } = turn;
    switch (shape.kind) {
      case "closed":
        return shape.connections === 1
          ? this.#runLone(row, side, turn)
          : this.#runClosed(row, side, { ...turn, connections: shape.connections });
      case "open": {
        const { deadlineMs } = shape;
        const { ratePerSecond = 0 } = turn;
        const arrivals = { kind: "poisson", ratePerSecond, durationMs: ms, seed: round + 1 } as const;
        const headers = row.budgetHeaders?.(Math.round(BUDGET_SHARE * deadlineMs)) ?? {};
        const plan = { ...this.#plan(row, side), headers, connections: OPEN_CONNECTIONS };
        return this.#runOpen(row, { ...plan, open: { arrivals, deadlineMs } }, onBegin);
      }
      case "burst": {
        const { requests, deadlineMs } = shape;
        const arrivals = { kind: "burst", requests } as const;
        return this.#runOpen(
          row,
          { ...this.#plan(row, side), connections: requests, open: { arrivals, deadlineMs } },
          onBegin,
        );
      }
    }
  }

  /** Answers a second under a closed loop: what the rates of open loops are shares of. @throws Error as `run` does. */
  async capacity(
    row: SideRow,
    side: Side,
    { ms, connections }: { readonly ms: number; readonly connections: number },
  ): Promise<number> {
    const { answers, elapsedMs } = await this.#runClosed(row, side, { ms, round: 0, connections, onBegin: () => {} });
    return answers / (elapsedMs / 1000);
  }

  #plan({ form, isTimed }: SideRow, { urls }: Side): Omit<LoadPlan, "connections"> {
    const pools = [this.#poolOptions];
    const { rows: prebuilt } = this.#options;
    return { urls, requests: Number.MAX_SAFE_INTEGER, pools, seed: 6, rowsMax: 1, prebuilt, isTimed, form };
  }

  async #runOpen(row: SideRow, plan: LoadPlan, onBegin: () => void): Promise<Load> {
    await using load = await startLoad({ ...plan, checkEvery: CHECK_EVERY });
    onBegin();
    const report = await load.report;
    assertRight(row, report, MAY_REFUSE);
    return { ...toLoad(report), openLoop: report.openLoop };
  }

  async #runLone(row: SideRow, side: Side, { ms, onBegin }: LoadTurn): Promise<Load> {
    const checked = await runCheckedLoad({ ...this.#plan(row, side), connections: 1, requests: CHECKED_BEFORE });
    assertRight(row, checked, ALL_OK);
    const wrk = await this.#wrkOf(row.form);
    const url = side.urls[0] ?? "";
    const core = row.loadCore?.();
    await wrk.run(url, { connections: 1, durationMs: RAMP_MS, core });
    onBegin();
    const report = await wrk.run(url, { connections: 1, durationMs: ms, core });
    return { ...report, checked: checked.answers };
  }

  async #runClosed(
    row: SideRow,
    side: Side,
    { ms, connections, onBegin }: LoadTurn & { readonly connections: number },
  ): Promise<Load> {
    const wrk = await this.#wrkOf(row.form);
    const core = row.loadCore?.();
    const share = Math.ceil((connections - 1) / side.urls.length);
    const load = (durationMs: number): Promise<WrkReport[]> =>
      Promise.all(side.urls.map((url) => wrk.run(url, { connections: share, durationMs, core })));
    await load(RAMP_MS);
    if (row.isEcho === true) {
      onBegin();
      return { ...(await wrk.run(side.urls[0] ?? "", { connections, durationMs: ms, core })), checked: 0 };
    }
    await using checking = await startLoad({ ...this.#plan(row, side), connections: 1 });
    onBegin();
    const reports = await load(ms);
    const checkedReport = await checking.stop();
    assertRight(row, checkedReport, ALL_OK);
    const checked = toLoad(checkedReport);
    const sum = (values: readonly number[]): number => values.reduce((total, one) => total + one, 0);
    const mean = (pick: (latencyMs: Latency) => number): number =>
      sum(reports.map(({ latencyMs }) => pick(latencyMs))) / reports.length;
    return {
      ...checked,
      answers: checked.answers + sum(reports.map(({ answers }) => answers)),
      elapsedMs: sum(reports.map(({ elapsedMs }) => elapsedMs)) / reports.length,
      latencyMs: { p50: mean(({ p50 }) => p50), p99: mean(({ p99 }) => p99), p999: mean(({ p999 }) => p999) },
      cpuMs: checked.cpuMs + sum(reports.map(({ cpuMs }) => cpuMs)),
    };
  }

  async #wrkOf(form: RequestFormName): Promise<WrkLoad> {
    let wrk = this.#wrk.get(form);
    if (wrk === undefined) {
      wrk = await WrkLoad.prepare(this.#options.folder, { pool: this.#pool, form });
      this.#wrk.set(form, wrk);
    }
    return wrk;
  }
}

function toLoad({ identity, answers, elapsedMs, latencyMs, cpuMs }: LoadReport): Load {
  return { answers, elapsedMs, latencyMs, cpuMs, checked: identity.requests };
}

/** Throws at a wrong answer, and at a status that the load does not expect. */
function assertRight({ name }: SideRow, report: LoadReport, expected: ReadonlySet<string>): void {
  const { identity, faults, firstFaults } = report;
  const { mismatches, firstMismatches, statuses, firstErrors } = identity;
  const isExpected = Object.keys(statuses).every((status) => expected.has(status));
  if (mismatches === 0 && isExpected && (faults === 0 || expected === MAY_REFUSE)) return;
  const first = firstMismatches.slice(0, 1);
  const evidence = { mismatches, firstMismatches: first, statuses, firstErrors, faults, firstFaults };
  throw new Error(`${name}: ${JSON.stringify(evidence).slice(0, 2_000)}`);
}

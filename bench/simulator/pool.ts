import {
  ArrivalRate,
  Backlog,
  type BatchPlan,
  type BatchView,
  type Bucketed,
  Codel,
  type Curve,
  latenessOf,
  LateMargin,
  type Line,
  patienceMsOf,
  PROBE_AFTER_MS,
  RATE_WINDOW_MS,
  staleOf,
} from "@millrace/scheduling";
import { randomOf } from "./reference.ts";

/** What decides about the next batch: the production policy, or one that it is compared with. */
export type Policy = (view: BatchView) => BatchPlan;

/** One queue in front of equal slots on a virtual clock. Times in ms, rates in requests/ms. */
export type PoolOptions = {
  /** Batch time L(n) = fixedMs + rowMs · n. */
  readonly line: Line;
  /** How many times as long the runs take that begin at a time; default 1. */
  readonly slowness?: (atMs: number) => number;
  /** What is known of the batch times, and learns from each run; default: the line, which is known and stays so. */
  readonly curve?: Curve;
  readonly slots: number;
  /** Poisson arrivals, so many of them, where `arrivalsMs` does not say when they come. */
  readonly rate: number;
  readonly arrivalsMs?: ArrayLike<number>;
  /** Rows of the request of that index; default 1. */
  readonly rowsOf?: (index: number) => number;
  /** Every request has this long. */
  readonly budgetMs: number;
  readonly policy: Policy;
  /** Whether the production door decides who is let in; default: everybody is. */
  readonly door?: boolean;
  /** Budgets longer than this do not bind: their queue must not stand (`Codel`); default Infinity. */
  readonly looseBudgetMs?: number;
  readonly requests?: number;
  readonly rowsMax?: number;
  readonly holdMaxMs?: number;
  /**
   * As measured of a live broker, to compare it fairly: what passes between two runs of a slot beyond the runs (0 where the next batch is
   * staged in time), and by how much the timer that ends a hold is late, in ms. Default: 0.
   */
  readonly handOverMs?: number;
  readonly timerLateMs?: number;
  readonly seed?: number;
};

/** Of the requests after the first twentieth. Latencies are those of the requests that ran. */
export type PoolOutcome = {
  /** Share of all that were answered in time. */
  readonly inTime: number;
  /** Share of all that ran and were late. */
  readonly late: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly meanRows: number;
};

/** What became of one request; `latencyMs`: Infinity where it did not run. */
export type PoolRequest = { readonly arrivedMs: number; readonly latencyMs: number };

export type PoolRun = { readonly atMs: number; readonly rows: number };

class Waiting implements Bucketed {
  readonly bucket = "";
  readonly classIndex = 0;
  readonly bytes = 0;
  queueIndex = -1;
  latencyMs = Infinity;
  readonly receivedMs: number;
  readonly deadlineMs: number;
  readonly rows: number;
  readonly isLoose: boolean;

  constructor(given: Pick<Waiting, "receivedMs" | "deadlineMs" | "rows" | "isLoose">) {
    this.receivedMs = given.receivedMs;
    this.deadlineMs = given.deadlineMs;
    this.rows = given.rows;
    this.isLoose = given.isLoose;
  }

  get arrivedMs(): number {
    return this.receivedMs;
  }
}

/** Runs Poisson arrivals through a policy until all are answered or shed. Deterministic for a seed. */
export function runPool(options: PoolOptions): PoolOutcome {
  return outcomeOf(tracePool(options), options.budgetMs);
}

/** The same, request by request and run by run. */
export function tracePool(options: PoolOptions): {
  readonly requests: readonly PoolRequest[];
  readonly runs: readonly PoolRun[];
} {
  const pool = new Pool(options);
  pool.run();
  return { requests: pool.arrivals, runs: pool.runs };
}

/** No margin is learned: runs end as they were predicted, and answers take no time. */
const NO_MARGIN = new LateMargin();

type Running = { readonly endMs: number; readonly rows: number; readonly computeMs: number };

class Pool {
  readonly arrivals: readonly Waiting[];
  readonly runs: PoolRun[] = [];
  readonly #options: PoolOptions;
  readonly #rowsMax: number;
  readonly #handOverMs: number;
  readonly #queue: Backlog<Waiting>;
  readonly #codel = new Codel();
  readonly #rate = new ArrivalRate(RATE_WINDOW_MS);
  readonly #running: Running[] = [];
  #lastDispatchMs = -Infinity;
  #wakeMs = Infinity;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#rowsMax = options.rowsMax ?? 1e6;
    this.#handOverMs = options.handOverMs ?? 0;
    this.#queue = new Backlog(this.#rowsMax, [1]);
    this.arrivals = arrivalsOf(options);
  }

  run(): void {
    const { arrivals } = this;
    let next = 0;
    for (;;) {
      const first = this.#firstToEnd();
      const arrivesMs = arrivals[next]?.receivedMs ?? Infinity;
      const nowMs = Math.min(arrivesMs, first?.endMs ?? Infinity, this.#wakeMs);
      if (nowMs === Infinity) return;
      if (first !== undefined && nowMs === first.endMs) this.#end(first);
      else if (nowMs === arrivesMs) this.#arrive(arrivals[next++]!, nowMs);
      this.#wakeMs = Infinity;
      while (this.#running.length < this.#options.slots && this.#queue.rows > 0 && this.#dispatch(nowMs));
    }
  }

  #firstToEnd(): Running | undefined {
    let first: Running | undefined;
    for (const one of this.#running) if (first === undefined || one.endMs < first.endMs) first = one;
    return first;
  }

  #end(run: Running): void {
    this.#running.splice(this.#running.indexOf(run), 1);
    this.#options.curve?.record(run.rows, run.computeMs);
  }

  #arrive(request: Waiting, nowMs: number): void {
    if (this.#options.door === true && this.#isRefused(request, nowMs)) return;
    this.#queue.push(request);
    this.#rate.record(request.rows, nowMs);
  }

  /** As the broker's `Admission` asks it, of slots that have nothing staged. */
  #isRefused({ rows, deadlineMs }: Waiting, nowMs: number): boolean {
    const { slots, budgetMs } = this.#options;
    const running = this.#running;
    if (nowMs - this.#lastDispatchMs > PROBE_AFTER_MS && running.length === 0) return false;
    const isFree = running.length < slots;
    if (isFree && this.#queue.rows === 0) return false;
    const freeInMs = this.#handOverMs + (isFree ? 0 : this.#firstToEnd()!.endMs - nowMs);
    const queue = { classIndex: 0, deadlineMs, backlog: this.#queue, marginOf: (ms: number) => NO_MARGIN.of(ms) };
    const groups = [{ slots, freeInMs, predict: this.#predict }];
    const backdrop = { rows, rowsMax: this.#rowsMax, groups };
    return latenessOf({ ...backdrop, ...queue, nowMs, budgetMs }) !== undefined;
  }

  readonly #predict: BatchView["predict"] = (rows) => {
    const { curve, line } = this.#options;
    if (curve !== undefined) return curve.predict(rows);
    const ms = line.fixedMs + line.rowMs * rows;
    return { q50Ms: ms, q95Ms: ms };
  };

  /** Sends a batch, or gives requests up; false where neither can be done now. */
  #dispatch(nowMs: number): boolean {
    const stale = this.#stale(nowMs);
    for (const request of stale) this.#queue.remove(request);
    const plan = this.#options.policy(this.#viewOf(this.#queue.head!, nowMs));
    if (plan.action === "hold") {
      this.#wakeMs = plan.untilMs + (this.#options.timerLateMs ?? 0);
      return false;
    }
    if (plan.action === "shed") return this.#queue.remove(this.#queue.head!);
    this.#send(this.#queue.take({ rowsMax: plan.rows, itemsMax: Infinity, bytesMax: Infinity }), nowMs);
    this.#look(nowMs);
    return true;
  }

  #viewOf(head: Waiting, nowMs: number): BatchView {
    const { line, curve, slots, budgetMs, holdMaxMs = Infinity } = this.#options;
    const dueMs = head.receivedMs + budgetMs;
    return {
      nowMs,
      startMs: nowMs + this.#handOverMs,
      headDeadlineMs: dueMs,
      headAimMs: dueMs,
      marginMs: 0,
      headSinceMs: head.receivedMs,
      headRows: head.rows,
      waitingRows: this.#queue.rows,
      fillRows: 0,
      rowsMax: this.#rowsMax,
      predict: this.#predict,
      line: curve === undefined ? line : curve.line(),
      rate: this.#rate.at(nowMs),
      slots,
      lastDispatchMs: this.#lastDispatchMs,
      holdMaxMs,
    };
  }

  #send(batch: readonly Waiting[], nowMs: number): void {
    const { line, slowness } = this.#options;
    const rows = batch.reduce((sum, one) => sum + one.rows, 0);
    const computeMs = (line.fixedMs + line.rowMs * rows) * (slowness?.(nowMs) ?? 1);
    const endMs = nowMs + this.#handOverMs + computeMs;
    for (const one of batch) one.latencyMs = endMs - one.receivedMs;
    this.#running.push({ endMs, rows, computeMs });
    this.runs.push({ atMs: nowMs, rows });
    this.#lastDispatchMs = nowMs;
  }

  #largestMs(): number {
    return this.#predict(this.#rowsMax)?.q95Ms ?? Infinity;
  }

  #stale(nowMs: number): readonly Waiting[] {
    const queue = this.#queue.ofClass(0);
    if (!queue.newestFirst || queue.loose === undefined) return [];
    const sinceMs = nowMs - patienceMsOf(this.#largestMs());
    return staleOf(queue.loose, { sinceMs, rows: queue.rows, keptRows: this.#rowsMax });
  }

  #look(nowMs: number): void {
    const queue = this.#queue.ofClass(0);
    if (queue.loose === undefined) return;
    const oldest = queue.loose.head;
    const left = { oldestMs: oldest === undefined ? 0 : nowMs - oldest.receivedMs, rows: queue.rows };
    this.#codel.look(left, { rows: this.#rowsMax, ms: this.#largestMs() }, nowMs);
    queue.newestFirst = this.#codel.stands;
  }
}

function arrivalsOf(options: PoolOptions): Waiting[] {
  const { rate, budgetMs, looseBudgetMs = Infinity, rowsOf = () => 1, seed = 1 } = options;
  const random = randomOf(seed);
  const arrivals: Waiting[] = [];
  const isLoose = budgetMs > looseBudgetMs;
  let arrivedMs = 0;
  const requests = options.arrivalsMs?.length ?? options.requests ?? 60_000;
  for (let index = 0; index < requests; index++) {
    arrivedMs = options.arrivalsMs?.[index] ?? arrivedMs - Math.log(1 - random()) / rate;
    const deadlineMs = arrivedMs + Math.min(budgetMs, looseBudgetMs);
    arrivals.push(new Waiting({ receivedMs: arrivedMs, deadlineMs, rows: rowsOf(index), isLoose }));
  }
  return arrivals;
}

function outcomeOf({ requests, runs }: ReturnType<typeof tracePool>, budgetMs: number): PoolOutcome {
  const counted = requests.slice(Math.floor(requests.length * 0.05)).map(({ latencyMs }) => latencyMs);
  const ran = counted.filter(Number.isFinite).sort((x, y) => x - y);
  const isInTime = (ms: number): boolean => ms <= budgetMs + 1e-9;
  return {
    inTime: counted.filter(isInTime).length / counted.length,
    late: ran.filter((ms) => !isInTime(ms)).length / counted.length,
    p50Ms: ran[Math.floor(ran.length * 0.5)] ?? Infinity,
    p99Ms: ran[Math.floor(ran.length * 0.99)] ?? Infinity,
    meanRows: runs.length === 0 ? 0 : runs.reduce((sum, { rows }) => sum + rows, 0) / runs.length,
  };
}

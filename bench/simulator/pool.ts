import {
  ArrivalRate,
  type BatchPlan,
  type BatchView,
  EdfQueue,
  type Line,
  RATE_WINDOW_MS,
  takeBatch,
} from "@millrace/scheduling";
import { randomOf } from "./reference.ts";

/** What decides about the next batch: the production policy, or one that it is compared with. */
export type Policy = (view: BatchView) => BatchPlan;

/** One queue in front of equal slots on a virtual clock. Times in ms, rates in requests/ms. */
export type PoolOptions = {
  /** Batch time L(n) = fixedMs + rowMs · n. */
  readonly line: Line;
  readonly slots: number;
  /** Poisson arrivals, so many of them, where `arrivalsMs` does not say when they come. */
  readonly rate: number;
  readonly arrivalsMs?: ArrayLike<number>;
  /** Rows of the request of that index; default 1. */
  readonly rowsOf?: (index: number) => number;
  /** Every request has this long. */
  readonly budgetMs: number;
  readonly policy: Policy;
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

type Waiting = {
  readonly arrivedMs: number;
  readonly deadlineMs: number;
  readonly rows: number;
  readonly bytes: number;
  queueIndex: number;
  readonly index: number;
};

/** Runs Poisson arrivals through a policy until all are answered or shed. Deterministic for a seed. */
export function runPool(options: PoolOptions): PoolOutcome {
  const {
    line,
    slots,
    rate,
    budgetMs,
    policy,
    rowsOf = () => 1,
    rowsMax = 1e6,
    holdMaxMs = Infinity,
    handOverMs = 0,
    timerLateMs = 0,
    seed = 1,
  } = options;
  const timeOf = (rows: number): number => line.fixedMs + line.rowMs * rows;
  const predict: BatchView["predict"] = (rows) => ({ q50Ms: timeOf(rows), q95Ms: timeOf(rows) });
  const random = randomOf(seed);
  const requests = options.arrivalsMs?.length ?? options.requests ?? 60_000;
  const arrivals: Waiting[] = [];
  let arrivedMs = 0;
  for (let index = 0; index < requests; index++) {
    arrivedMs = options.arrivalsMs?.[index] ?? arrivedMs - Math.log(1 - random()) / rate;
    arrivals.push({
      arrivedMs,
      deadlineMs: arrivedMs + budgetMs,
      rows: rowsOf(index),
      bytes: 0,
      queueIndex: -1,
      index,
    });
  }
  const latency = new Float64Array(requests).fill(Infinity);
  const queue = new EdfQueue<Waiting>();
  const measured = new ArrivalRate(RATE_WINDOW_MS);
  const ends: number[] = [];
  let next = 0;
  let lastDispatchMs = -Infinity;
  let wakeMs = Infinity;
  let batches = 0;
  let rowsRun = 0;
  for (;;) {
    const endMs = ends.length > 0 ? Math.min(...ends) : Infinity;
    const nowMs = Math.min(arrivals[next]?.arrivedMs ?? Infinity, endMs, wakeMs);
    if (nowMs === Infinity) break;
    if (nowMs === endMs) ends.splice(ends.indexOf(endMs), 1);
    else if (nowMs === arrivals[next]?.arrivedMs) {
      const arrived = arrivals[next++]!;
      queue.push(arrived);
      measured.record(arrived.rows, nowMs);
    }
    wakeMs = Infinity;
    for (let head = queue.head; head !== undefined && ends.length < slots; head = queue.head) {
      const plan = policy({
        nowMs,
        startMs: nowMs + handOverMs,
        headDeadlineMs: head.deadlineMs,
        headAimMs: head.deadlineMs,
        marginMs: 0,
        headSinceMs: head.arrivedMs,
        headRows: head.rows,
        waitingRows: queue.rows,
        fillRows: 0,
        rowsMax,
        predict,
        line,
        rate: measured.at(nowMs),
        slots,
        lastDispatchMs,
        holdMaxMs,
      });
      if (plan.action === "hold") {
        wakeMs = plan.untilMs + timerLateMs;
        break;
      }
      if (plan.action === "shed") {
        queue.pop();
        continue;
      }
      const batch = takeBatch(queue, { rowsMax: plan.rows, itemsMax: Infinity, bytesMax: Infinity });
      const rows = batch.reduce((sum, one) => sum + one.rows, 0);
      const doneMs = nowMs + handOverMs + timeOf(rows);
      for (const one of batch) latency[one.index] = doneMs - one.arrivedMs;
      ends.push(doneMs);
      lastDispatchMs = nowMs;
      batches++;
      rowsRun += rows;
    }
  }
  const counted = Array.from(latency.subarray(Math.floor(requests * 0.05)));
  const ran = counted.filter(Number.isFinite).sort((x, y) => x - y);
  const isInTime = (ms: number): boolean => ms <= budgetMs + 1e-9;
  return {
    inTime: counted.filter(isInTime).length / counted.length,
    late: ran.filter((ms) => !isInTime(ms)).length / counted.length,
    p50Ms: ran[Math.floor(ran.length * 0.5)] ?? Infinity,
    p99Ms: ran[Math.floor(ran.length * 0.99)] ?? Infinity,
    meanRows: batches === 0 ? 0 : rowsRun / batches,
  };
}

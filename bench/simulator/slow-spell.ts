/**
 * What a slow spell leaves behind: a pool whose policy learns its curve as it goes, on a virtual clock, while runs take several times
 * as long for a while. Prints the share that is in time before, during and after, every two seconds, and what the curve then holds.
 *
 *     node bench/simulator/slow-spell.ts [--slow 4] [--seconds 3] [--load 0.7]
 */
import { parseArgs } from "node:util";
import {
  ArrivalRate,
  Curve,
  EdfQueue,
  type Line,
  planBatch,
  type Queued,
  RATE_WINDOW_MS,
  takeBatch,
} from "@millrace/scheduling";
import { planArrivals } from "../../tests/support/arrival-plan.ts";

type Waiting = Queued & { readonly arrivedMs: number; readonly bytes: number };
type Running = { readonly endMs: number; readonly rows: number; readonly computeMs: number };

export type SpellOptions = {
  /** Runs take so many times as long in the slow spell. */
  readonly slow: number;
  readonly slowMs: number;
  /** Of (N/b)(1 − a/D). */
  readonly load: number;
};

/** One stretch of time: the share of its requests that were in time, and the mean rows of the runs that began in it. */
export type Stretch = { readonly fromMs: number; readonly inTime: number; readonly rows: number };

const LINE: Line = { fixedMs: 40, rowMs: 2.5 };
const SLOTS = 4;
const BUDGET_MS = 200;
const ROWS_MAX = 64;
export const SLOW_FROM_MS = 10_000;
const DURATION_MS = 60_000;
const STRETCH_MS = 2_000;

/** Deterministic. The curve begins with true times of every power of two, as after a sweep at warm-up. */
export function runSpell({ slow, slowMs, load }: SpellOptions): {
  readonly stretches: Stretch[];
  readonly curve: Curve;
} {
  const curve = new Curve();
  const timeOf = (rows: number): number => LINE.fixedMs + LINE.rowMs * rows;
  for (let rows = 1; rows <= ROWS_MAX; rows *= 2) for (let i = 0; i < 20; i++) curve.record(rows, timeOf(rows));
  const ratePerSecond = load * ((1000 * SLOTS) / LINE.rowMs) * (1 - LINE.fixedMs / BUDGET_MS);
  const arrivals = planArrivals({ kind: "poisson", ratePerSecond, durationMs: DURATION_MS, seed: 1 });
  const queue = new EdfQueue<Waiting>();
  const rate = new ArrivalRate(RATE_WINDOW_MS);
  const counts = Array.from({ length: DURATION_MS / STRETCH_MS + 1 }, () => ({ due: 0, inTime: 0, rows: 0, runs: 0 }));
  const at = (ms: number): (typeof counts)[number] => counts[Math.min(counts.length - 1, Math.floor(ms / STRETCH_MS))]!;
  const running: Running[] = [];
  let [next, lastDispatchMs, wakeMs] = [0, -Infinity, Infinity];
  for (;;) {
    const first = running.toSorted((x, y) => x.endMs - y.endMs)[0];
    const nowMs = Math.min(arrivals[next] ?? Infinity, first?.endMs ?? Infinity, wakeMs);
    if (nowMs === Infinity) break;
    if (first !== undefined && nowMs === first.endMs) {
      running.splice(running.indexOf(first), 1);
      curve.record(first.rows, first.computeMs);
    } else if (nowMs === arrivals[next]) {
      queue.push({ arrivedMs: nowMs, deadlineMs: nowMs + BUDGET_MS, rows: 1, bytes: 0, queueIndex: -1 });
      rate.record(1, nowMs);
      at(nowMs).due++;
      next++;
    }
    wakeMs = Infinity;
    for (let { head } = queue; head !== undefined && running.length < SLOTS; { head } = queue) {
      const plan = planBatch({
        nowMs,
        startMs: nowMs,
        headDeadlineMs: head.deadlineMs,
        headAimMs: head.deadlineMs,
        marginMs: 0,
        headSinceMs: head.arrivedMs,
        headRows: 1,
        waitingRows: queue.rows,
        fillRows: 0,
        rowsMax: ROWS_MAX,
        predict: (rows) => curve.predict(rows),
        line: curve.line(),
        rate: rate.at(nowMs),
        slots: SLOTS,
        lastDispatchMs,
        holdMaxMs: 100,
      });
      if (plan.action === "hold") {
        wakeMs = plan.untilMs;
        break;
      }
      if (plan.action === "shed") {
        queue.pop();
        continue;
      }
      const batch = takeBatch(queue, { rowsMax: plan.rows, itemsMax: Infinity, bytesMax: Infinity });
      const isSlow = nowMs >= SLOW_FROM_MS && nowMs < SLOW_FROM_MS + slowMs;
      const computeMs = timeOf(batch.length) * (isSlow ? slow : 1);
      running.push({ endMs: nowMs + computeMs, rows: batch.length, computeMs });
      lastDispatchMs = nowMs;
      at(nowMs).rows += batch.length;
      at(nowMs).runs++;
      for (const one of batch) if (nowMs + computeMs <= one.deadlineMs) at(one.arrivedMs).inTime++;
    }
  }
  const stretches = counts.flatMap(({ due, inTime, rows, runs }, i) =>
    due === 0 ? [] : [{ fromMs: i * STRETCH_MS, inTime: inTime / due, rows: runs === 0 ? 0 : rows / runs }],
  );
  return { stretches, curve };
}

function main(): void {
  const { values } = parseArgs({
    options: {
      slow: { type: "string", default: "4" },
      seconds: { type: "string", default: "3" },
      load: { type: "string", default: "0.7" },
    },
  });
  const { stretches, curve } = runSpell({
    slow: Number(values.slow),
    slowMs: Number(values.seconds) * 1000,
    load: Number(values.load),
  });
  for (const { fromMs, inTime, rows } of stretches) {
    console.log(
      `${String(fromMs / 1000).padStart(3)} s  ${(100 * inTime).toFixed(0).padStart(3)} % in time  ${rows.toFixed(1)} rows a run`,
    );
  }
  const points = curve.points().map(({ rows, q50Ms, q95Ms }) => `${rows}: ${q50Ms.toFixed(0)}–${q95Ms.toFixed(0)}`);
  console.log(`rows: p50–p95 ms: ${points.join(", ")}`);
}

if (import.meta.main) main();

/**
 * What a slow spell leaves behind: a pool whose policy learns its curve as it goes, on a virtual clock, while runs take several times
 * as long for a while. Prints the share that is in time before, during and after, every two seconds, and what the curve then holds.
 *
 *     node bench/simulator/slow-spell.ts [--slow 4] [--seconds 3] [--load 0.7]
 */
import { parseArgs } from "node:util";
import { Curve, type Line, planBatch } from "@millrace/scheduling";
import { planArrivals } from "../../tests/support/arrival-plan.ts";
import { tracePool } from "./pool.ts";

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
  const { requests, runs } = tracePool({
    line: LINE,
    slowness: (atMs) => (atMs >= SLOW_FROM_MS && atMs < SLOW_FROM_MS + slowMs ? slow : 1),
    curve,
    slots: SLOTS,
    rate: 0,
    arrivalsMs: arrivals,
    budgetMs: BUDGET_MS,
    policy: planBatch,
    rowsMax: ROWS_MAX,
    holdMaxMs: 100,
  });
  const counts = Array.from({ length: DURATION_MS / STRETCH_MS + 1 }, () => ({ due: 0, inTime: 0, rows: 0, runs: 0 }));
  const at = (ms: number): (typeof counts)[number] => counts[Math.min(counts.length - 1, Math.floor(ms / STRETCH_MS))]!;
  for (const { arrivedMs, latencyMs } of requests) {
    at(arrivedMs).due++;
    if (latencyMs <= BUDGET_MS) at(arrivedMs).inTime++;
  }
  for (const { atMs, rows } of runs) {
    at(atMs).rows += rows;
    at(atMs).runs++;
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

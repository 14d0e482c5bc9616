import { type Line, planBatch } from "@millrace/scheduling";
import { type ArrivalPlan, planArrivals } from "../../tests/support/arrival-plan.ts";
import { lambda99 } from "../simulator/lambda99.ts";
import { runPool } from "../simulator/pool.ts";
import { absoluteLimit, DEADLINE_MS, ROWS_MAX } from "./device.ts";

/** The broker's rules: its door and its plans. */
const PRODUCTION = { policy: planBatch, door: true, rowsMax: ROWS_MAX } as const;

/** What the policy reaches on a virtual clock, where nothing but the batches takes time. */
export type VirtualOptions = {
  readonly workers: number;
  /** As measured live. */
  readonly line: Line;
};

/** The share that is answered in time, of the very arrivals that a live system was given. */
export function virtualShare(
  { workers, line }: VirtualOptions,
  arrivals: ArrivalPlan,
  rowsOf?: (index: number) => number,
): number {
  const arrivalsMs = planArrivals(arrivals);
  const slots = { line, slots: workers, rate: 0, budgetMs: DEADLINE_MS, ...PRODUCTION };
  return runPool({ ...slots, arrivalsMs, ...(rowsOf === undefined ? {} : { rowsOf }) }).inTime;
}

/** The highest rate, in requests a second, of which 99 % are in time: over 60,000 requests, or of the arrivals that `planOf` gives. */
export function virtualLambda99(options: VirtualOptions, planOf?: (ratePerSecond: number) => ArrivalPlan): number {
  const { workers, line } = options;
  const share = (ratePerSecond: number): number => {
    if (planOf !== undefined) return virtualShare(options, planOf(ratePerSecond));
    const slots = { line, slots: workers, budgetMs: DEADLINE_MS, ...PRODUCTION };
    return runPool({ ...slots, rate: ratePerSecond / 1000 }).inTime;
  };
  return lambda99(share, absoluteLimit(workers, line));
}

/** Goodput on the virtual clock at a rate, in requests a second. */
export function virtualGoodput({ workers, line }: VirtualOptions, ratePerSecond: number): number {
  const slots = { line, slots: workers, budgetMs: DEADLINE_MS, ...PRODUCTION };
  return ratePerSecond * runPool({ ...slots, rate: ratePerSecond / 1000 }).inTime;
}

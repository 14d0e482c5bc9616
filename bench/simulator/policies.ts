import { feasibleRows, planBatch } from "@millrace/scheduling";
import type { Policy } from "./pool.ts";

/** What the production policy is compared with. */

/** One request a batch, first come first served. */
export const noBatching: Policy = () => ({ action: "send", rows: 1, reason: "idle" });

/** All that waits, at once. */
export const greedy: Policy = ({ waitingRows, rowsMax }) => ({
  action: "send",
  rows: Math.min(waitingRows, rowsMax),
  reason: "idle",
});

/** All that waits, once it fills a batch or its oldest has waited for a fixed time: what most servers offer. */
export function fixedWait(waitMs: number): Policy {
  return ({ nowMs, headSinceMs, waitingRows, rowsMax }) =>
    waitingRows < rowsMax && nowMs < headSinceMs + waitMs
      ? { action: "hold", untilMs: headSinceMs + waitMs }
      : { action: "send", rows: Math.min(waitingRows, rowsMax), reason: "full" };
}

/** Never holds; as many as meet the first deadline; sheds what cannot be met alone. */
export const feasible: Policy = (view) => {
  const rows = Math.min(view.waitingRows, feasibleRows({ ...view, dueMs: view.headDeadlineMs }));
  return rows === 0 ? { action: "shed" } : { action: "send", rows, reason: "deadline" };
};

/** Holds every batch until the last moment at which it is in time, as Symphony does without staggering. */
export const deferred: Policy = (view) => {
  const { nowMs, headDeadlineMs, waitingRows, predict } = view;
  const rows = Math.min(waitingRows, feasibleRows({ ...view, dueMs: view.headDeadlineMs }));
  if (rows === 0) return { action: "shed" };
  const untilMs = headDeadlineMs - predict(rows + 1)!.q95Ms - 0.1;
  if (rows === waitingRows && nowMs < untilMs) return { action: "hold", untilMs };
  return { action: "send", rows, reason: "deadline" };
};

export const POLICIES = {
  "no batching": noBatching,
  greedy,
  "fixed wait, 2 ms": fixedWait(2),
  "feasible size": feasible,
  deferred,
  production: planBatch,
} as const satisfies Record<string, Policy>;

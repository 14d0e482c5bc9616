import { type BatchView, feasibleRows } from "./batch-plan.ts";

/**
 * How many rows of less urgent classes may fill up a batch. Before it the head may have waited for a batch of theirs, and in it it waits
 * for their rows to run with its own: both together are one largest batch at most, so that a class never delays a more urgent one by
 * more than one running batch. `waitingRows`: of the head's class. O(log rowsMax).
 */
export function fillRowsMax(
  view: Pick<BatchView, "startMs" | "headSinceMs" | "waitingRows" | "rowsMax" | "predict">,
): number {
  const { startMs, headSinceMs, waitingRows, rowsMax, predict } = view;
  const ownMs = predict(Math.min(waitingRows, rowsMax))?.q95Ms ?? 0;
  const dueMs = headSinceMs + ownMs + (predict(rowsMax)?.q95Ms ?? 0);
  return Math.max(0, feasibleRows({ startMs, dueMs, rowsMax, predict }) - waitingRows);
}

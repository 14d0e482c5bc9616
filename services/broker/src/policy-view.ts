import type { SubmitItem } from "@millrace/protocol";
import { type BatchView, finishInMs, PROBE_AFTER_MS } from "@millrace/scheduling";
import type { ModelVersion } from "./model-version.ts";
import type { Request } from "./request.ts";
import { firstFreeSlot } from "./slot-choice.ts";
import type { Slot } from "./worker-session.ts";

/** Entries that are looked at to count what leaves before a new request: with more than these before it, it is let in and shed later. */
const AHEAD_ENTRIES_MAX = 512;

/** When a batch that leaves now for this slot would start, in ms. */
export function startMs({ worker, batches }: Slot, nowMs: number): number {
  return Math.max(nowMs + worker.handOver.ms, batches[0]?.predictedEndMs ?? 0);
}

/** What the policy needs to know to decide about the batch that begins with `head` and would go to `slot`. */
export function viewOf(head: Request, slot: Slot, nowMs: number): BatchView {
  const { model, bucket, deadlineMs, receivedMs } = head;
  const { model: description, fingerprint } = slot.worker.models.get(model)!;
  const curve = model.curve(bucket, fingerprint);
  const { sloMs, maxHoldMs } = model.description;
  return {
    nowMs,
    startMs: startMs(slot, nowMs),
    headDeadlineMs: deadlineMs,
    headAimMs: sloMs > 0 ? Math.min(deadlineMs, receivedMs + sloMs) : deadlineMs,
    headSinceMs: receivedMs,
    headRows: head.rows,
    waitingRows: model.backlog.headRows,
    rowsMax: description.maxBatchSize,
    predict: (rows) => curve.predict(rows),
    line: curve.line(),
    rate: model.rate.at(nowMs),
    slots: model.slots,
    lastDispatchMs: model.lastDispatchMs,
    holdMaxMs: maxHoldMs,
  };
}

/**
 * By how much a new request would miss its budget behind what leaves before it, in ms; 0 if it would not, or if nobody can tell. Also 0
 * where the model has not run for a while: without a run a prediction that is wrong would stay so.
 */
export function lateBy(model: ModelVersion, item: SubmitItem, nowMs: number): number {
  const budgetMs = item.budgetUs / 1000;
  if (budgetMs > model.longestWaitMs(model.backlog.rows) || nowMs - model.lastDispatchMs > PROBE_AFTER_MS) return 0;
  const first = firstFreeSlot(model, nowMs);
  // Idle, and nothing waits: whether it is worth a try is the plan's to say.
  if (first === undefined || (model.backlog.rows === 0 && first.slot.batches.length === 0)) return 0;
  const { model: description, fingerprint } = first.slot.worker.models.get(model)!;
  const curve = model.curve(item.bucket, fingerprint);
  const finishMs = finishInMs({
    aheadRows: model.backlog.rowsBefore(nowMs + budgetMs, AHEAD_ENTRIES_MAX),
    rows: item.rows,
    rowsMax: description.maxBatchSize,
    slots: model.slots,
    freeInMs: first.freeInMs,
    predict: (rows) => curve.predict(rows),
  });
  return finishMs === undefined ? 0 : Math.max(0, finishMs - budgetMs);
}

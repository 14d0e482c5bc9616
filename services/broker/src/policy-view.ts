import type { BatchView } from "@millrace/scheduling";
import type { Request } from "./request.ts";
import type { Slot } from "./worker-session.ts";

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

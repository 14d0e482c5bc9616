import { rowsOfRun } from "@millrace/protocol";
import { type BatchView, fillRowsMax, type Prediction } from "@millrace/scheduling";
import type { Request } from "./request.ts";
import type { Slot } from "../sessions/worker-session.ts";

/** When a batch that leaves now for this slot would start, in ms. */
export function startMs({ worker, batches }: Slot, nowMs: number): number {
  return Math.max(nowMs + worker.handOver.ms, batches[0]?.predictedEndMs ?? 0);
}

/** What the policy needs to know to decide about the batch that begins with `head` and would go to `slot`. */
export function viewOf(head: Request, slot: Slot, nowMs: number): BatchView {
  const { model, bucket, expiresMs, receivedMs, classIndex } = head;
  const { model: description, fingerprint } = slot.worker.models.get(model)!;
  const curve = model.curve(bucket, fingerprint);
  const { sloMs, maxHoldMs } = model.description;
  const { slowness } = slot.worker;
  // The newest of a queue that stands could be there by its aim in a small batch; then the queue would stand for ever.
  const hasAim = sloMs > 0 && !model.backlog.ofClass(classIndex).newestFirst;
  const aimMs = hasAim ? Math.min(expiresMs, receivedMs + sloMs) : expiresMs;
  const view: BatchView = {
    nowMs,
    startMs: startMs(slot, nowMs),
    headDeadlineMs: expiresMs,
    headAimMs: aimMs,
    marginMs: model.lateMargin.of(aimMs - receivedMs),
    headSinceMs: receivedMs,
    headRows: head.rows,
    waitingRows: model.backlog.headRows,
    fillRows: 0,
    rowsMax: rowsOfRun(description, head.item),
    predict: (rows) => scaled(curve.predict(rows), slowness),
    line: curve.line(),
    rate: model.rate.at(nowMs),
    slots: model.slots,
    lastDispatchMs: model.lastDispatchMs,
    holdMaxMs: maxHoldMs,
  };
  const { fillRows, isHeadTop } = model.backlog;
  if (fillRows === 0) return view;
  // Who has a turn before more urgent classes is not asked whether these may fill it up.
  return { ...view, fillRows: isHeadTop ? Math.min(fillRows, fillRowsMax(view)) : fillRows };
}

/** A prediction for a worker that takes so many times as long as the median of its kind. */
export function scaled(prediction: Prediction | undefined, slowness: number): Prediction | undefined {
  if (prediction === undefined || slowness === 1) return prediction;
  return { q50Ms: prediction.q50Ms * slowness, q95Ms: prediction.q95Ms * slowness };
}

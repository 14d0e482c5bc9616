import { rowsOfRun } from "@millrace/protocol";
import { type BatchView, fillRowsMax, type Line, type Prediction } from "@millrace/scheduling";
import type { Request } from "./request.ts";
import { areUneven } from "../models/worker-speed.ts";
import type { Slot, WorkerSession } from "../sessions/worker-session.ts";

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
    line: scaledLine(curve.line(), slowness),
    rate: model.rate.at(nowMs),
    slots: slotsLike(slot, head),
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

function scaledLine(line: Line | undefined, slowness: number): Line | undefined {
  if (line === undefined || slowness === 1) return line;
  return { fixedMs: line.fixedMs * slowness, rowMs: line.rowMs * slowness };
}

/** The slots of a model, each counted by its speed beside that of this one in largest batches. O(workers). */
function slotsLike({ worker: own }: Slot, { model, bucket }: Request): number {
  if (!areUneven(model)) return model.slots;
  const { maxBatchSize } = model.description;
  const batchMs = (worker: WorkerSession): number => {
    const { fingerprint } = worker.models.get(model)!;
    return (model.curve(bucket, fingerprint).predict(maxBatchSize)?.q50Ms ?? NaN) * worker.slowness;
  };
  const ownMs = batchMs(own);
  let slots = 0;
  for (const worker of model.workers) slots += model.slotsOf(worker).length * (ownMs / batchMs(worker) || 1);
  return slots;
}

import type { MessageOf } from "@millrace/protocol";
import type { BatchRun } from "../metrics/observer.ts";
import { startMs } from "./policy-view.ts";
import type { Request } from "./request.ts";
import { forgetSpeeds, learnSpeed } from "../models/worker-speed.ts";
import type { Batch, Slot } from "../sessions/worker-session.ts";

/** A batch of requests of one model version and bucket, as it is sent now; `hedgeOf`: the late batch whose requests run a second time. */
export function formBatch(
  plan: { id: number; slot: Slot; requests: readonly Request[]; hedgeOf?: Batch },
  nowMs: number,
): Batch {
  const { id, slot, requests, hedgeOf } = plan;
  const { model, bucket, alone: isIsolated } = requests[0]!;
  let rows = 0;
  let bytes = 0;
  for (const request of requests) {
    rows += request.rows;
    bytes += request.bytes;
  }
  const curve = model.curve(bucket, slot.worker.models.get(model)?.fingerprint ?? "");
  const prediction = curve.predict(rows);
  const { slowness } = slot.worker;
  const beginMs = startMs(slot, nowMs);
  const predictedMs = (prediction?.q50Ms ?? Infinity) * slowness;
  const plannedEndMs = beginMs + (prediction?.q95Ms ?? Infinity) * slowness;
  const predicted = { predictedMs, predictedEndMs: beginMs + predictedMs, plannedEndMs };
  const sent = { dispatchedMs: nowMs, toIdleSlot: slot.batches.length === 0, isRecalled: false, decision: -1 };
  return { id, slot, requests, hedgeOf, model, bucket, curve, rows, bytes, isIsolated, ...predicted, ...sent };
}

/** How a batch went, of which the worker's answer has come. */
export function runOf(batch: Batch, message: MessageOf<"RESULT">, nowMs: number): BatchRun {
  return {
    batch,
    batchWaitMs: message.batchWaitUs / 1000,
    computeMs: message.computeUs / 1000,
    roundTripMs: nowMs - batch.dispatchedMs,
  };
}

/** How much later than planned a batch is back, where it was planned to be in time, and not sent as a trial, for the second time, or taken back. */
export function noteLateness({ model, requests, hedgeOf, isRecalled, plannedEndMs }: Batch, nowMs: number): void {
  const { expiresMs, receivedMs } = requests[0]!;
  if (hedgeOf === undefined && !isRecalled && plannedEndMs <= expiresMs)
    model.lateMargin.record(nowMs - plannedEndMs, expiresMs - receivedMs);
}

/** What a batch teaches: only one that ran as it was sent, and in a time that can be. */
export function learn(batch: Batch, message: MessageOf<"RESULT">, nowMs: number): void {
  const computeMs = message.computeUs / 1000;
  const restMs = nowMs - batch.dispatchedMs - computeMs;
  if (message.batchRows !== batch.rows || !(computeMs > 0) || restMs < 0) return;
  const usualMs = batch.curve.predict(batch.rows)?.q50Ms ?? computeMs;
  const learnedMs = learnSpeed(batch.model, batch.slot.worker, { ms: computeMs, usualMs });
  if (!Number.isNaN(learnedMs) && batch.curve.record(batch.rows, learnedMs)) forgetSpeeds(batch.model);
  batch.model.ran(batch, computeMs);
  batch.slot.worker.ran(batch, computeMs);
  if (batch.toIdleSlot) batch.slot.worker.handOver.record(restMs);
}

/** Whether the request waits for this batch: it is not ended, and one of its runs is this one. */
export function isOf(batch: Batch, request: Request): boolean {
  return request.state === "dispatched" && (request.batch === batch || request.hedge === batch);
}

/** The run of a request is over without an answer while a second one goes on: that one counts from now on. */
export function leaveToOther(batch: Batch, request: Request): boolean {
  const { hedge } = request;
  if (hedge === undefined) return false;
  if (request.batch === batch) {
    request.retryMs += hedge.dispatchedMs - request.sinceMs;
    request.sinceMs = hedge.dispatchedMs;
    request.batch = hedge;
  }
  request.hedge = undefined;
  return true;
}

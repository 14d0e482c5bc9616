import type { BatchView, ExplainedPlan } from "@millrace/scheduling";
import type { Refusal } from "../dispatch/admission.ts";
import type { ModelVersion } from "../models/model-version.ts";
import type { Batch } from "../sessions/worker-session.ts";

/** Tells the log of the model why a batch leaves; `plan` and `view` are what it was decided by. */
export function explainSent(batch: Batch, plan: ExplainedPlan & { action: "send" | "hold" }, view: BatchView): void {
  const { rows } = batch;
  const isSend = plan.action === "send";
  noteSent(batch, {
    // A hold that no timer could end in time leaves at once.
    why: isSend ? plan.reason : "paced",
    bound: isSend && rows < plan.rows ? "limits" : isSend ? plan.bound : "waiting",
    waitingRows: view.waitingRows + view.fillRows,
    sustainableRows: plan.sustainableRows,
    slackMs: view.headDeadlineMs - view.marginMs - view.startMs - (view.predict(rows)?.q95Ms ?? NaN),
    startMs: view.startMs,
  });
}

/** What a slower slot takes of what waits for the others, the least urgent. */
export function explainSpare(batch: Batch, waitingRows: number): void {
  const { slot, requests, dispatchedMs, plannedEndMs } = batch;
  noteSent(batch, {
    why: "spare",
    bound: "",
    waitingRows,
    sustainableRows: NaN,
    slackMs: requests[0]!.expiresMs - plannedEndMs,
    startMs: dispatchedMs + slot.worker.handOver.ms,
  });
}

/** A request that ran on a lost worker leaves by itself. */
export function explainSuspect(batch: Batch): void {
  const unknown = { waitingRows: NaN, sustainableRows: NaN, slackMs: NaN };
  noteSent(batch, { why: "suspect", bound: "", startMs: batch.dispatchedMs, ...unknown });
}

/** A late batch runs a second time, as far as that is of use. */
export function explainHedge(batch: Batch): void {
  const unknown = { waitingRows: NaN, sustainableRows: NaN, slackMs: NaN };
  noteSent(batch, { why: "hedge", bound: "", startMs: batch.dispatchedMs + batch.slot.worker.handOver.ms, ...unknown });
}

export function explainHeld(model: ModelVersion, plan: ExplainedPlan & { action: "hold" }, view: BatchView): void {
  const { nowMs } = view;
  const waitingRows = view.waitingRows + view.fillRows;
  model.decisions.held({
    nowMs,
    why: plan.end,
    bucket: model.backlog.head?.bucket ?? "",
    untilMs: plan.untilMs,
    waitingRows,
    sustainableRows: plan.sustainableRows,
    slackMs: view.headDeadlineMs - view.marginMs - view.startMs - (view.predict(waitingRows)?.q95Ms ?? NaN),
  });
}

export function explainRefused({ decisions }: ModelVersion, why: Refusal, nowMs: number): void {
  const entry = decisions.turnedAway("refused", why.why, nowMs);
  if (why.lateByMs !== undefined) decisions.slackWas(entry, -why.lateByMs);
}

type SentGrounds = Readonly<
  Record<"why" | "bound", string> & Record<"waitingRows" | "sustainableRows" | "slackMs" | "startMs", number>
>;

function noteSent(batch: Batch, grounds: SentGrounds): void {
  const { id, slot, bucket, rows, requests, dispatchedMs, predictedMs } = batch;
  batch.decision = batch.model.decisions.sent({
    nowMs: dispatchedMs,
    worker: slot.worker.instance,
    slot: slot.index,
    batch: id,
    bucket,
    rows,
    requests: requests.length,
    predictedMs,
    ...grounds,
  });
}

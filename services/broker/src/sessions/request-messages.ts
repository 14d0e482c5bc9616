import { ERROR_CODES, JOB_FLAGS, type MessageOf, type RejectItem, type ResultItem } from "@millrace/protocol";
import type { Refusal } from "../dispatch/admission.ts";
import { RETRY_AFTER_DEFAULT_MS } from "../models/model-version.ts";
import type { Request } from "../dispatch/request.ts";
import type { Batch } from "./worker-session.ts";

export function jobMessage(batch: Batch): MessageOf<"JOB"> {
  return {
    command: "JOB",
    batch: batch.id,
    slot: batch.slot.index,
    model: batch.slot.worker.models.get(batch.model)!.index,
    bucket: batch.bucket,
    flags: batch.isIsolated ? JOB_FLAGS.isolate : 0,
    items: batch.requests.map(({ gateway, item, rows, expiresMs }) => ({
      origin: gateway.origin,
      request: item.request,
      attempt: item.attempt,
      budgetUs: micros(expiresMs - batch.dispatchedMs),
      rows,
      payload: item.payload,
      tensors: item.tensors,
      trace: item.trace,
    })),
  };
}

/** The answers to requests of one gateway that ran in a batch. */
export function answerMessage(
  { id, slot }: Batch,
  { batchRows, batchWaitUs, computeUs }: MessageOf<"RESULT">,
  items: readonly ResultItem[],
): MessageOf<"RESULT"> {
  const times = { batchRows, batchWaitUs, computeUs };
  return { command: "RESULT", batch: id, worker: slot.worker.instance, ...times, items, granted: 0 };
}

/** A worker's answer, with the gateway's numbers and the broker's times; what the worker lost to failed runs counts as retry too. */
export function answerItem(request: Request, item: ResultItem): ResultItem {
  // Written out, as a spread for each row is felt.
  return {
    request: request.item.request,
    attempt: request.item.attempt,
    code: item.code,
    retryAfterMs: item.retryAfterMs,
    brokerQueueUs: micros(request.queueMs),
    retryUs: Math.min(Number.MAX_SAFE_INTEGER, micros(request.retryMs) + item.retryUs),
    text: item.text,
    payload: item.payload,
    tensors: item.tensors,
  };
}

export function rejectItem(
  request: Pick<Request, "item" | "queueMs" | "retryMs">,
  why: Pick<Refusal, "code" | "text" | "retryAfterMs">,
): RejectItem {
  return {
    request: request.item.request,
    attempt: request.item.attempt,
    code: ERROR_CODES[why.code].number,
    retryAfterMs: why.retryAfterMs ?? RETRY_AFTER_DEFAULT_MS,
    brokerQueueUs: micros(request.queueMs),
    retryUs: micros(request.retryMs),
    text: why.text,
  };
}

/** Whole microseconds, rounded down: a budget never grows. */
function micros(ms: number): number {
  return Math.floor(ms * 1000);
}

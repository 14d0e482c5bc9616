import { classOf, type ErrorCode, rowsOfRun, type SubmitItem } from "@millrace/protocol";
import { finishInMs, PROBE_AFTER_MS } from "@millrace/scheduling";
import type { ModelVersion } from "./model-version.ts";
import { heldBytesOf } from "./request.ts";
import { firstFreeSlot } from "./slot-choice.ts";

export type AdmissionOptions = {
  /** Rows that may wait for one model version. */
  readonly queueRowsMax: number;
  /** Bytes of all requests that have not ended: their payloads and what else of them is passed on. */
  readonly queueBytesMax: number;
};

/** Why a request is refused; without a better guess it may be tried again after a second. */
export type Refusal = { readonly code: ErrorCode; readonly text: string; readonly retryAfterMs?: number };

export const UNKNOWN_ROUTE: Refusal = { code: "model_not_found", text: "the broker knows no such route" };

const UNREACHABLE = "the budget cannot be met under the present load";

/** The broker's door: what it holds, and who is let in. Pure: no clock, no I/O. */
export class Admission {
  readonly #options: AdmissionOptions;
  #closed: Refusal | undefined;
  #heldBytes = 0;
  #open = 0;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** Requests that have not ended. */
  get open(): number {
    return this.#open;
  }

  /** Refuses every new request from now on. */
  close(why: Refusal): void {
    this.#closed = why;
  }

  took(item: SubmitItem): void {
    this.#open++;
    this.#heldBytes += heldBytesOf(item);
  }

  ended(item: SubmitItem): void {
    this.#open--;
    this.#heldBytes -= heldBytesOf(item);
  }

  /** Why a request cannot be taken, or undefined. */
  refusalOf(model: ModelVersion | undefined, item: SubmitItem, nowMs: number): Refusal | undefined {
    if (this.#closed !== undefined) return this.#closed;
    if (model === undefined) return UNKNOWN_ROUTE;
    if (model.workers.size === 0) return { code: "unavailable", text: "no worker serves the model" };
    const rowsMax = rowsOfRun(model.description, item);
    if (item.rows < 1 || item.rows > rowsMax) return { code: "too_many_rows", text: `rows must be 1 to ${rowsMax}` };
    const { queueRowsMax, queueBytesMax } = this.#options;
    const isFull = model.queuedRows + item.rows > queueRowsMax || this.#heldBytes + heldBytesOf(item) > queueBytesMax;
    if (isFull) return { code: "queue_full", text: "the broker's queue is full", retryAfterMs: model.drainTimeMs() };
    const lateByMs = lateBy(model, item, nowMs);
    return lateByMs > 0 ? { code: "shed", text: UNREACHABLE, retryAfterMs: Math.ceil(lateByMs) } : undefined;
  }
}

/** What a request is told that was let in, and is given up after all. */
export function shedding(model: ModelVersion): Refusal {
  return { code: "shed", text: UNREACHABLE, retryAfterMs: model.drainTimeMs() };
}

/**
 * By how much a new request would miss its budget behind what leaves before it, in ms; 0 if it would not, or if nobody can tell. Also 0
 * where the model has not run for a while: without a run a prediction that is wrong would stay so.
 */
function lateBy(model: ModelVersion, item: SubmitItem, nowMs: number): number {
  const budgetMs = item.budgetUs / 1000;
  if (budgetMs > model.longestWaitMs(model.backlog.rows) || nowMs - model.lastDispatchMs > PROBE_AFTER_MS) return 0;
  const first = firstFreeSlot(model, nowMs);
  // Idle, and nothing waits: whether it is worth a try is the plan's to say.
  if (first === undefined || (model.backlog.rows === 0 && first.slot.batches.length === 0)) return 0;
  const { model: description, fingerprint } = first.slot.worker.models.get(model)!;
  const curve = model.curve(item.bucket, fingerprint);
  const finishMs = finishInMs({
    aheadRows: model.backlog.rowsBefore(classOf(item.priority), nowMs + budgetMs),
    rows: item.rows,
    rowsMax: rowsOfRun(description, item),
    slots: model.slots,
    freeInMs: first.freeInMs,
    predict: (rows) => curve.predict(rows),
  });
  return finishMs === undefined ? 0 : Math.max(0, finishMs - budgetMs);
}

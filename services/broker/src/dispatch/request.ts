import { classOf, type SubmitItem } from "@millrace/protocol";
import type { Account, Classed } from "@millrace/scheduling";
import type { GatewaySession } from "../sessions/gateway-session.ts";
import type { ModelVersion } from "../models/model-version.ts";
import type { Batch } from "../sessions/worker-session.ts";

/**
 * Where a request is in the broker.
 *
 * - `queued`: in the backlog of its model version.
 * - `dispatched`: in a batch that a worker has. Back to `queued` when the worker hands it back or is lost.
 * - `ended`: answered, refused or cancelled; final. What still arrives for it is dropped.
 */
export type RequestState = "queued" | "dispatched" | "ended";

/** A request as the broker holds it, from SUBMIT to its one answer. Payloads are never decoded. */
export type Request = Omit<Classed, "deadlineMs" | "isLoose"> & {
  readonly gateway: GatewaySession;
  readonly model: ModelVersion;
  readonly item: SubmitItem;
  /** When it came, on the broker's clock. */
  readonly receivedMs: number;
  /** When its budget passes. */
  readonly expiresMs: number;
  /**
   * Its place in the queue: when its budget passes. While it is loose: when it ceases to be so, equally long after it came for all of
   * them, whatever their budgets: they leave in the order in which they came, or the other way round.
   */
  deadlineMs: number;
  /** Its budget is so long that it does not bind: see `isLooseFor`. */
  isLoose: boolean;
  state: RequestState;
  /** The batch that it is in while `dispatched`. */
  batch: Batch | undefined;
  /** Its second run, while there is one. */
  hedge: Batch | undefined;
  /** The staged batch from which it was taken back; should that have begun, and be answered first, that answer counts. */
  recalledFrom: Batch | undefined;
  /** Since when it is in the present state, on the broker's clock. */
  sinceMs: number;
  /** Time in the queue, over all attempts. */
  queueMs: number;
  /** Time in attempts that failed. */
  retryMs: number;
  /** How often it was sent to a worker, and how many of these attempts failed. */
  attempts: number;
  failures: number;
  /** A suspect: it was on a worker that was lost, and runs alone from then on. */
  alone: boolean;
  /** Where its tenant's share is counted while it waits for the first time; kept by `TenantShares`. */
  account: Account<Request> | undefined;
  start: number;
  newer: Request | undefined;
  older: Request | undefined;
};

/** What a request keeps in memory: its payload and the descriptors that are only passed on. */
export function heldBytesOf({ payload, tensors, trace }: SubmitItem): number {
  return payload.byteLength + tensors.byteLength + trace.byteLength;
}

/**
 * Whether the budget of a request does not bind: it is longer than `looseBudgetMs`, and by far longer than one waits behind a queue of a
 * few batches. Not so in the least urgent class, for which nobody waits: there a long budget means that it may take as long.
 */
export function isLooseFor(model: ModelVersion, item: SubmitItem, looseBudgetMs: number): boolean {
  const budgetMs = item.budgetUs / 1000;
  if (budgetMs <= looseBudgetMs || classOf(item.priority) === model.tenants.length - 1) return false;
  return budgetMs > model.longestWaitMs(0);
}

/** A loose request has waited until its budget may bind: it is one like all others from now on. It must not stand in a queue. */
export function tighten(request: Request): void {
  request.isLoose = false;
  request.deadlineMs = request.expiresMs;
}

/** `looseForMs`: for how long it is loose, if it is. */
export function createRequest(
  {
    gateway,
    model,
    item,
    looseForMs,
  }: Pick<Request, "gateway" | "model" | "item"> & { readonly looseForMs?: number | undefined },
  nowMs: number,
): Request {
  const expiresMs = nowMs + item.budgetUs / 1000;
  return {
    gateway,
    model,
    item,
    bucket: item.bucket,
    classIndex: classOf(item.priority),
    rows: item.rows,
    bytes: item.payload.byteLength,
    deadlineMs: looseForMs === undefined ? expiresMs : nowMs + looseForMs,
    isLoose: looseForMs !== undefined,
    expiresMs,
    queueIndex: -1,
    receivedMs: nowMs,
    state: "queued",
    batch: undefined,
    hedge: undefined,
    recalledFrom: undefined,
    sinceMs: nowMs,
    queueMs: 0,
    retryMs: 0,
    attempts: 0,
    failures: 0,
    alone: false,
    account: undefined,
    start: 0,
    newer: undefined,
    older: undefined,
  };
}

import type { ErrorCode } from "@millrace/protocol";
import type { BatchReason } from "@millrace/scheduling";
import type { ModelVersion } from "../models/model-version.ts";
import type { Request } from "../dispatch/request.ts";
import type { Batch } from "../sessions/worker-session.ts";

/** The stages that the broker knows the time of; together with the sending they are a request's residence. */
export const BROKER_STAGES = ["broker_queue", "retry", "batch_wait", "compute", "network"] as const;
export type BrokerStage = (typeof BROKER_STAGES)[number];

/**
 * Why a batch left. `full`: it holds as many rows as the model takes. `paced`: held, or grown, to the batch that the arrivals call for.
 * `deadline`: its most urgent request allowed no more rows, or no more waiting. `idle`: nothing was to be gained by waiting.
 */
export const BATCH_REASONS = ["full", "paced", "deadline", "idle"] as const satisfies readonly BatchReason[];

/**
 * Why a request waits again. `worker_lost`: with the worker that had it. `handed_back`: by a worker that shuts down or failed.
 * `taken_back`: from a worker that is late with the batch before its own.
 */
export const RETRY_REASONS = ["worker_lost", "handed_back", "taken_back"] as const;
export type RetryReason = (typeof RETRY_REASONS)[number];

/** `sent`: a late batch runs a second time. `won`: a request was answered by its second run. */
export const HEDGE_EVENTS = ["sent", "won"] as const;
export type HedgeEvent = (typeof HEDGE_EVENTS)[number];

/**
 * What becomes of peers. `disconnected` ends every session; the ones before it tell why. `refused`: it may not open a session.
 * `draining`: it takes nothing new.
 */
export const PEER_EVENTS = [
  "connected",
  "draining",
  "disconnected",
  "heartbeat_missed",
  "messages_lost",
  "refused",
] as const;
export type PeerEvent = (typeof PEER_EVENTS)[number];

/** Why a message was thrown away. `malformed`: it cannot be read. `unknown_peer`: it belongs to no session. */
export const DROP_REASONS = ["malformed", "unknown_peer"] as const;
export type DropReason = (typeof DROP_REASONS)[number];

/** How a worker ran a batch, in ms on the broker's clock. `roundTripMs`: from dispatch to the answer. */
export type BatchRun = {
  readonly batch: Batch;
  readonly batchWaitMs: number;
  readonly computeMs: number;
  readonly roundTripMs: number;
};

/**
 * What the core tells whoever measures it. Many calls are on the path of every request: they change nothing, keep nothing of what
 * they are given, and cost next to nothing. Of each request there is exactly one of `refused`, or `submitted` and later one of
 * `answered`, `rejected` and `cancelled`.
 */
export type BrokerObserver = {
  submitted(request: Request): void;
  /** Refused before it could wait; `model` is undefined where the route is not known. */
  refused(model: ModelVersion | undefined, code: ErrorCode, nowMs: number): void;
  batchSent(batch: Batch, reason: BatchReason): void;
  batchAnswered(run: BatchRun): void;
  /** `code` of the worker's answer to one request, 0 for a result, and the time that the worker lost in failed runs, in ms. */
  answered(request: Request, run: BatchRun, item: { readonly code: number; readonly retryUs: number }): void;
  rejected(request: Request, code: ErrorCode): void;
  /** Given up because its queue stands (`Codel`); `rejected` follows. */
  sloughed(request: Request): void;
  /** Nobody waits for it any more: the client went away, or its gateway, or the gateway saw its budget pass. */
  cancelled(request: Request, nowMs: number): void;
  retried(model: ModelVersion, reason: RetryReason): void;
  /** A late batch was sent a second time; a request was answered by the second run. */
  hedged(model: ModelVersion, event: HedgeEvent): void;
  peer(side: "gateway" | "worker", event: PeerEvent): void;
  dropped(reason: DropReason): void;
  /** The shell has handed over all that the turn decided. */
  turnSent(nowMs: number): void;
};

const nothing = (): void => {};

/** Measures nothing. */
export const NO_OBSERVER: BrokerObserver = {
  submitted: nothing,
  refused: nothing,
  batchSent: nothing,
  batchAnswered: nothing,
  answered: nothing,
  rejected: nothing,
  sloughed: nothing,
  cancelled: nothing,
  retried: nothing,
  hedged: nothing,
  peer: nothing,
  dropped: nothing,
  turnSent: nothing,
};

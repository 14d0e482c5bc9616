import { REQUEST_FLAGS } from "@millrace/protocol";
import { BusyShare, lateAtMs } from "@millrace/scheduling";
import type { ModelBook } from "../models/model-book.ts";
import type { ModelVersion } from "../models/model-version.ts";
import type { Request } from "./request.ts";
import { hasPlace } from "./slot-choice.ts";
import type { Batch, Slot, WorkerSession } from "../sessions/worker-session.ts";

/** With so many of its slots busy a pool has none to spare for a second run: it would cost others more than it saves. */
const UTILISATION_MAX = 0.7;

/** Hedges that may be saved up while none is needed. */
const SAVED_MAX = 10;

/** Requests of a late batch, and an idle slot at which they may run a second time. */
export type HedgePlan = { readonly slot: Slot; readonly requests: readonly Request[] };

/**
 * Decides which late batches run a second time elsewhere (Dean and Barroso, The Tail at Scale, CACM 56, 2013). A hedge goes
 * to an idle slot of another worker, once for a batch, while fewer than 70 % of the slots are busy, now and of late, and no more
 * than a given share of all batches are hedged. Requests that may not run twice have none, nor have those that would be late
 * all the same. Keeps an account of what runs only where hedging is on.
 */
export class Hedging {
  readonly isOn: boolean;
  readonly #share: number;
  /** Batches that are out and may be hedged. */
  readonly #out = new Set<Batch>();
  readonly #busy = new BusyShare();
  #saved = 0;

  /** `percent`: hedges per 100 batches, 0 to 100; 0: none. */
  constructor(percent: number) {
    this.isOn = percent > 0;
    this.#share = percent / 100;
  }

  /** A batch was sent, and is on its slot. */
  sent(batch: Batch): void {
    if (!this.isOn) return;
    if (batch.slot.batches.length === 1) this.#busy.add(1, batch.dispatchedMs);
    if (batch.hedgeOf !== undefined) return;
    this.#saved = Math.min(SAVED_MAX, this.#saved + this.#share);
    if (!batch.isIsolated) this.#out.add(batch);
  }

  /** A batch was answered, handed back or lost, and is off its slot. */
  gone(batch: Batch, nowMs: number): void {
    if (!this.isOn) return;
    this.#out.delete(batch);
    if (batch.slot.batches.length === 0) this.#busy.add(-1, nowMs);
  }

  /** When the next batch will be late; Infinity: none will be. O(batches that are out). */
  lateAtMs(nowMs: number): number {
    let nextMs = Infinity;
    for (const batch of this.#out) {
      const atMs = lateAtMs(batch);
      if (atMs > nowMs && atMs < nextMs) nextMs = atMs;
    }
    return nextMs;
  }

  /** A hedge that may be sent now, if there is one; ask again once it is sent. `models`: all. O(batches that are out + slots). */
  next(models: ModelBook, nowMs: number): HedgePlan | undefined {
    if (this.#saved < 1) return undefined;
    for (const batch of this.#out) {
      if (lateAtMs(batch) > nowMs) continue;
      if (this.#busy.of(models.slots(), nowMs) >= UTILISATION_MAX) return undefined;
      const slot = idleSlotFor(batch);
      if (slot === undefined) continue;
      const requests = batch.requests.filter((request) => isWorthIt(request, { batch, slot, nowMs }));
      // Their time only gets shorter.
      this.#out.delete(batch);
      if (requests.length === 0) continue;
      this.#saved--;
      return { slot, requests };
    }
    return undefined;
  }
}

/** A slot that has nothing, of another worker of the model: the fastest, and of several alike the one that has rested longest. */
function idleSlotFor({ model, slot: { worker: own }, bucket, bytes, rows }: Batch): Slot | undefined {
  let best: Slot | undefined;
  let bestMs = Infinity;
  for (const worker of model.workers) {
    if (worker === own || !isOpen(worker) || !worker.hasRoom(bytes)) continue;
    const { model: description, fingerprint } = worker.models.get(model)!;
    if (rows > description.maxBatchSize) continue;
    const runMs = (model.curve(bucket, fingerprint).predict(rows)?.q50Ms ?? Infinity) * worker.slowness;
    for (const slot of model.slotsOf(worker)) {
      if (slot.batches.length > 0 || !hasPlace(slot) || runMs > bestMs) continue;
      if (best !== undefined && runMs === bestMs && slot.lastDispatchMs >= best.lastDispatchMs) continue;
      best = slot;
      bestMs = runMs;
    }
  }
  return best === undefined || busyNow(model) >= UTILISATION_MAX ? undefined : best;
}

function isOpen({ state, isolated }: WorkerSession): boolean {
  return state === "active" && isolated === undefined;
}

/** The share of the model's slots that have a batch. */
function busyNow(model: ModelVersion): number {
  let busy = 0;
  for (const worker of model.workers) for (const slot of model.slotsOf(worker)) if (slot.batches.length > 0) busy++;
  return busy / model.slots;
}

/** Whether a second run of the request may be of use: it may run twice, waits for this batch alone, and could be in time. */
function isWorthIt(
  request: Request,
  { batch, slot, nowMs }: { readonly batch: Batch; readonly slot: Slot; readonly nowMs: number },
): boolean {
  if (request.state !== "dispatched" || request.batch !== batch || request.hedge !== undefined) return false;
  // One that was taken back may have begun all the same: two runs at one time are the most.
  if (request.recalledFrom !== undefined) return false;
  if ((request.item.flags & REQUEST_FLAGS.noRetry) !== 0) return false;
  const { worker } = slot;
  const curve = batch.model.curve(batch.bucket, worker.models.get(batch.model)!.fingerprint);
  const oneMs = (curve.predict(1)?.q95Ms ?? Infinity) * worker.slowness;
  return nowMs + worker.handOver.ms + oneMs <= request.expiresMs;
}

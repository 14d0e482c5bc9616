import { sendAtMs } from "@millrace/scheduling";
import type { ModelVersion } from "../models/model-version.ts";
import { startMs } from "./policy-view.ts";
import type { Request } from "./request.ts";
import { areUneven } from "../models/worker-speed.ts";
import type { Batch, Slot, WorkerSession } from "../sessions/worker-session.ts";

/** Batches that a slot is sent at one time, whatever its worker grants: one runs, one is staged. */
const BATCHES_PER_SLOT_MAX = 2;

/** A running batch may have ended once half of its predicted time is over, less this for the way of messages, in ms. */
const ENDED_SHARE = 0.5;
const ENDED_MARGIN_MS = 1;

export type SlotChoice = { readonly slot: Slot; readonly sendAtMs: number };

/** What is kept free in a turn: workers for suspects, and slots that were promised in it. */
export type Reserved = { readonly workers: ReadonlySet<WorkerSession>; readonly turn: number };

/**
 * Late binding: the slot that can start soonest (or, where workers differ in kind or speed, be done first) and to which a batch that
 * begins with `head` may be sent; among idle ones the one that has rested longest. Undefined where none can be told. Passes over
 * workers that are reserved for suspects, or run one, and slots that are promised to others. O(slots of the model's workers).
 */
export function chooseSlot(
  head: Request,
  { workers: reserved, turn }: Reserved,
  nowMs: number,
): SlotChoice | undefined {
  const uneven = areUneven(head.model) ? finishFor(head, nowMs) : undefined;
  let best: SlotChoice | undefined;
  let bestMs = Infinity;
  for (const worker of head.model.workers) {
    if (worker.state !== "active" || worker.isolated !== undefined || reserved.has(worker)) continue;
    if (!worker.hasRoom(head.bytes)) continue;
    for (const slot of head.model.slotsOf(worker)) {
      if (!hasPlace(slot) || slot.promisedIn === turn) continue;
      const atMs = sendAtMs(slot.batches[0], worker.handOver.ms, nowMs);
      if (atMs === Infinity) continue;
      const keyMs = uneven?.(slot) ?? atMs;
      if (
        best !== undefined &&
        (keyMs > bestMs || (keyMs === bestMs && slot.lastDispatchMs >= best.slot.lastDispatchMs))
      )
        continue;
      best = { slot, sendAtMs: atMs };
      bestMs = keyMs;
    }
  }
  return best;
}

/** When a batch that begins with `head`, and has all that could share it, would be done on a slot, in ms. */
function finishFor(head: Request, nowMs: number): (slot: Slot) => number {
  const { model, bucket } = head;
  return (slot) => {
    const { fingerprint, model: description } = slot.worker.models.get(model)!;
    const rows = Math.min(model.backlog.headRows, description.maxBatchSize);
    const usualMs = model.curve(bucket, fingerprint).predict(Math.max(rows, head.rows))?.q50Ms ?? 0;
    return startMs(slot, nowMs) + usualMs * slot.worker.slowness;
  };
}

/**
 * Whether a faster slot that is busy now will be free early enough to run the request alone in time: then it is left for that one, and not
 * given up because this one is too slow. O(slots).
 */
export function freesInTime(
  { model, bucket, rows, expiresMs }: Request,
  { worker: own }: Slot,
  nowMs: number,
): boolean {
  if (!areUneven(model)) return false;
  const runMs = (worker: WorkerSession): number =>
    (model.curve(bucket, worker.models.get(model)!.fingerprint).predict(rows)?.q95Ms ?? Infinity) * worker.slowness;
  const ownMs = runMs(own);
  for (const worker of model.workers) {
    if (worker.state !== "active" || worker.isolated !== undefined) continue;
    const otherMs = runMs(worker);
    if (otherMs >= ownMs) continue;
    for (const { batches } of model.slotsOf(worker)) {
      const freeMs = Math.max(nowMs, batches.at(-1)?.predictedEndMs ?? 0) + worker.handOver.ms;
      if (batches.length > 0 && freeMs + otherMs <= expiresMs) return true;
    }
  }
  return false;
}

/**
 * For a suspect: a slot of a worker that has nothing. Where there is none, workers that have little are reserved: nothing more
 * is sent to them in this turn, so that one will have nothing soon, whatever the load. While other requests wait, suspects have
 * half of the workers at most, so that the loss of one worker does not hold up the others. O(workers of the model).
 */
export function chooseLoneSlot(model: ModelVersion, reserved: Set<WorkerSession>): Slot | undefined {
  const active = [...model.workers].filter((worker) => worker.state === "active");
  const share = model.backlog.head === undefined ? active.length : Math.max(1, Math.floor(active.length / 2));
  const open = active.filter((worker) => worker.isolated === undefined);
  const left = Math.min(share - (active.length - open.length), model.suspects.length);
  if (left <= 0) return undefined;
  for (const worker of open) {
    const slot = worker.batchesOut === 0 ? model.slotsOf(worker).find(hasPlace) : undefined;
    if (slot !== undefined) return slot;
  }
  for (const worker of open.toSorted((a, b) => a.batchesOut - b.batchesOut).slice(0, left)) reserved.add(worker);
  return undefined;
}

/** Whether its worker permits a batch more, and it has room for one. */
export function hasPlace(slot: Slot): boolean {
  return slot.dispatched < slot.granted && slot.batches.length < BATCHES_PER_SLOT_MAX;
}

/** Whether a running batch may have ended, and its answer be lost on the way: then what was staged behind it may have started. */
export function mayHaveEnded(running: Batch, nowMs: number): boolean {
  if (running.predictedMs === Infinity) return true;
  return nowMs + ENDED_MARGIN_MS >= running.predictedEndMs - (1 - ENDED_SHARE) * running.predictedMs;
}

import { LIMITS, rowsOfRun } from "@millrace/protocol";
import { lateAtMs } from "@millrace/scheduling";
import type { ModelVersion } from "../models/model-version.ts";
import { startMs } from "./policy-view.ts";
import type { Request } from "./request.ts";
import { hasPlace, type Reserved } from "./slot-choice.ts";
import type { Slot, WorkerSession } from "../sessions/worker-session.ts";

/** An idle slot, and the requests that it takes, by their deadlines. */
export type Spare = { readonly slot: Slot; readonly requests: readonly Request[] };

/** The least urgent requests of what waits, the least urgent first, and what those up to and with each come to. */
type Waiting = {
  readonly rows: number;
  readonly requests: Request[];
  readonly sums: Readonly<Record<"rows" | "bytes" | "dueMs", number>>[];
  readonly drain: Drain;
};

/** What the slots do together while the queue lasts: how many they are, their rows a ms, and Σ rate · when each is free. */
type Drain = { slots: number; rate: number; owed: number };

/**
 * Where workers differ, and the slot that would be done first is not free yet: an idle slower one, and what it takes, the least urgent of
 * what waits. It takes as many as it is done with before the others would have drained the rest, and has them done in time by its own
 * curve: so nobody waits for it, and those that it takes would have waited longer (the slow server problem: it is used from a
 * length of the queue on, Lin and Kumar 1984). Of several the one that takes most, then the one that has rested longest. Undefined where
 * there is none. O(slots · log rows) predictions, and the requests of one batch are looked at.
 */
export function spareSlot(head: Request, { workers: reserved, turn }: Reserved, nowMs: number): Spare | undefined {
  const { model } = head;
  let waiting: Waiting | undefined;
  let best: Slot | undefined;
  let count = 0;
  for (const worker of model.workers) {
    if (!isOpen(worker) || reserved.has(worker)) continue;
    for (const slot of model.slotsOf(worker)) {
      if (slot.batches.length > 0 || !hasPlace(slot) || slot.promisedIn === turn) continue;
      waiting ??= waitingWith(head, nowMs);
      const own = countToSpare(head, { slot, waiting }, nowMs);
      if (own === 0 || own < count) continue;
      if (own === count && slot.lastDispatchMs >= best!.lastDispatchMs) continue;
      best = slot;
      count = own;
    }
  }
  return best === undefined ? undefined : { slot: best, requests: waiting!.requests.slice(0, count).toReversed() };
}

/** What could share a batch with the head, and what the slots do with it. */
function waitingWith(head: Request, nowMs: number): Waiting {
  const { model, classIndex, bucket } = head;
  const queue = model.backlog.ofClass(classIndex);
  const entries = queue.inBucket(bucket)!;
  const rowsMax = rowsOfRun(model.description, head.item);
  const waiting: Waiting = { rows: entries.rows, requests: [], sums: [], drain: drainOf(model, head, nowMs) };
  let [rows, bytes, dueMs] = [0, 0, Infinity];
  // Where the newest leave first, the oldest would be the last.
  for (const request of queue.newestFirst && queue.loose !== undefined ? queue.loose : entries.backwards()) {
    if (request.bucket !== bucket) continue;
    rows += request.rows;
    bytes += request.bytes;
    dueMs = Math.min(dueMs, request.expiresMs - model.lateMargin.of(request.expiresMs - request.receivedMs));
    if (rows > rowsMax || waiting.requests.length === LIMITS.items) break;
    waiting.requests.push(request);
    waiting.sums.push({ rows, bytes, dueMs });
  }
  return waiting;
}

/** A single one may be larger than the limit where the worker has nothing else. */
function hasRoom(worker: WorkerSession, bytes: number, count: number): boolean {
  return count === 1 ? worker.hasRoom(bytes) : worker.bytesOut + bytes <= worker.bytesMax;
}

/** How many of the least urgent requests the slot is done with before the others are with the rest, and in time; 0 if none. */
function countToSpare(
  head: Request,
  { slot, waiting }: { readonly slot: Slot; readonly waiting: Waiting },
  nowMs: number,
): number {
  const { model, bucket } = head;
  const { worker } = slot;
  const { fingerprint, model: description } = worker.models.get(model)!;
  const curve = model.curve(bucket, fingerprint);
  const rowsMax = rowsOfRun(description, head.item);
  const own = rateOf(slot, head);
  const othersRate = waiting.drain.rate - own;
  if (!(othersRate > 0)) return 0;
  // They end a batch in turns, each half of one later in the mean than if the rows of all left one by one.
  const batchRows = (waiting.drain.slots - 2) * rowsOfBatch(slot, head);
  const othersOwed = waiting.drain.owed - own * nowMs + batchRows / 2;
  const beginMs = startMs(slot, nowMs);
  const isDone = (count: number): boolean => {
    const { rows, bytes, dueMs } = waiting.sums[count - 1]!;
    const run = curve.predict(rows);
    if (run === undefined || rows > rowsMax || !hasRoom(worker, bytes, count)) return false;
    const drainedMs = (waiting.rows - rows + othersOwed) / othersRate;
    return beginMs + run.q50Ms * worker.slowness <= drainedMs && beginMs + run.q95Ms * worker.slowness <= dueMs;
  };
  let low = 0;
  let high = waiting.requests.length + 1;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (isDone(middle)) low = middle;
    else high = middle;
  }
  return low;
}

function drainOf(model: ModelVersion, head: Request, nowMs: number): Drain {
  const drain = { slots: 0, rate: 0, owed: 0 };
  for (const worker of model.workers) {
    if (!isOpen(worker)) continue;
    for (const slot of model.slotsOf(worker)) {
      const running = slot.batches[0];
      const freeMs = slot.batches.at(-1)?.predictedEndMs ?? nowMs;
      // Nobody knows when it will be free.
      if (freeMs === Infinity || (running !== undefined && nowMs > lateAtMs(running))) continue;
      const rate = rateOf(slot, head);
      drain.slots++;
      drain.rate += rate;
      drain.owed += rate * Math.max(nowMs, freeMs);
    }
  }
  return drain;
}

/** Rows a ms in batches of what waits, or the largest that it runs; 0 where nothing is known. */
function rateOf(slot: Slot, head: Request): number {
  const { model, bucket } = head;
  const { worker } = slot;
  const rows = rowsOfBatch(slot, head);
  const { fingerprint } = worker.models.get(model)!;
  return rows / ((model.curve(bucket, fingerprint).predict(rows)?.q50Ms ?? Infinity) * worker.slowness);
}

function rowsOfBatch({ worker }: Slot, { model, item }: Request): number {
  return Math.min(model.backlog.headRows, rowsOfRun(worker.models.get(model)!.model, item));
}

function isOpen({ state, isolated }: WorkerSession): boolean {
  return state === "active" && isolated === undefined;
}

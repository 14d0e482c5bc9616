import { REQUEST_FLAGS } from "@millrace/protocol";
import { lateAtMs, TIMER_GRAIN_MS } from "@millrace/scheduling";
import { cancelRun } from "./call-off.ts";
import type { Request } from "./request.ts";
import type { Outbox } from "../sessions/outbox.ts";
import type { Batch, Slot } from "../sessions/worker-session.ts";

/**
 * Tells which batches are to be taken back that are staged behind one that is late (`lateAtMs`): what nobody has begun may still be in
 * time elsewhere, and a worker that stands still costs its running batch alone. Lateness has to be seen in two looks a timer's grain
 * apart: after a pause of the broker itself the answer may be here and unread. Sooner would be dearer: where answers are late on
 * their way, what is taken back has begun. Pure. O(1) a batch, and O(slots with a staged batch) once the time of one has come.
 */
export class Recall {
  /** Slots with a batch staged behind another, and when that one was first seen to be late; Infinity: not yet. */
  readonly #slots = new Map<Slot, number>();
  /** When the next look is due; Infinity: never. */
  wakeAtMs = Infinity;

  /** A batch was sent, and is on its slot. */
  sent({ slot }: Batch): void {
    const [running, staged] = slot.batches;
    if (running === undefined || staged === undefined) return;
    this.#slots.set(slot, Infinity);
    this.wakeAtMs = Math.min(this.wakeAtMs, lateAtMs(running));
  }

  /** A batch was answered, handed back or lost, and is off its slot. */
  gone({ slot }: Batch): void {
    if (this.#slots.delete(slot) && this.#slots.size === 0) this.wakeAtMs = Infinity;
  }

  /** The staged batches whose time has come; each is named once. */
  due(nowMs: number): readonly Batch[] {
    if (nowMs < this.wakeAtMs) return NONE;
    this.wakeAtMs = Infinity;
    const due: Batch[] = [];
    for (const [slot, seenMs] of this.#slots) {
      const [running, staged] = slot.batches;
      const isLate = nowMs >= lateAtMs(running!);
      if (isLate && nowMs >= seenMs + TIMER_GRAIN_MS) {
        this.#slots.delete(slot);
        due.push(staged!);
        continue;
      }
      if (isLate && seenMs === Infinity) this.#slots.set(slot, nowMs);
      this.wakeAtMs = Math.min(this.wakeAtMs, isLate ? Math.min(seenMs, nowMs) + TIMER_GRAIN_MS : lateAtMs(running!));
    }
    return due;
  }
}

const NONE: readonly Batch[] = [];

/** Tells the worker of a staged batch not to begin what gains by it, and returns these requests: they wait again. */
export function takeBack(batch: Batch, outbox: Outbox, nowMs: number): readonly Request[] {
  const requests = gainers(batch, nowMs);
  if (requests.length === 0) return requests;
  batch.isRecalled = true;
  batch.model.decisions.ended(batch.decision, "taken_back");
  for (const request of requests) {
    cancelRun(request, batch, outbox);
    request.recalledFrom = batch;
  }
  return requests;
}

/** Those that may run twice, since they may begin all the same, and can be in time on another worker. */
function gainers(batch: Batch, nowMs: number): readonly Request[] {
  const { model, slot, curve, isIsolated, hedgeOf } = batch;
  const isOther = [...model.workers].some((worker) => worker !== slot.worker && worker.state === "active");
  if (!isOther || isIsolated || hedgeOf !== undefined) return [];
  return batch.requests.filter(
    ({ state, batch: own, hedge, recalledFrom, alone, item, rows, expiresMs }) =>
      state === "dispatched" &&
      own === batch &&
      // Once: two runs at one time are the most.
      recalledFrom === undefined &&
      hedge === undefined &&
      !alone &&
      (item.flags & REQUEST_FLAGS.noRetry) === 0 &&
      nowMs + (curve.predict(rows)?.q50Ms ?? Infinity) <= expiresMs,
  );
}

import { type Content, LIMITS, type Stamp, type WorkerModel } from "@millrace/protocol";
import type { Curve, RunningBatch } from "@millrace/scheduling";
import { HandOver } from "../models/hand-over.ts";
import type { ModelVersion } from "../models/model-version.ts";
import { PeerSession } from "./peer-session.ts";
import type { Request } from "../dispatch/request.ts";
import { WorkTally } from "../models/work-tally.ts";

/** A batch that a worker has and has not answered. */
export type Batch = RunningBatch & {
  readonly id: number;
  readonly slot: Slot;
  readonly model: ModelVersion;
  readonly bucket: string;
  /** What its compute time is learned by. */
  readonly curve: Curve;
  readonly requests: readonly Request[];
  readonly bytes: number;
  /** A suspect: it runs while its worker has nothing else, so that its guilt is certain. */
  readonly isIsolated: boolean;
  readonly dispatchedMs: number;
  /** Corrected when the batch before it is answered. */
  predictedEndMs: number;
  /** By when it was to be back with 95 % certainty when it left; Infinity where the curve knew nothing. */
  readonly plannedEndMs: number;
  /** Requests of it wait, or run, elsewhere: it was staged behind one that was late. */
  isRecalled: boolean;
  /** Whether the slot was idle when it was sent: only such batches tell how long the hand-over takes. */
  readonly toIdleSlot: boolean;
  /** The late batch whose requests run a second time with this one. */
  readonly hedgeOf: Batch | undefined;
  /** Its entry in the decisions of its model. */
  decision: number;
};

/** One execution lane. `batches[0]` runs, `batches[1]` is staged behind it. */
export type Slot = {
  readonly worker: WorkerSession;
  readonly index: number;
  readonly batches: Batch[];
  /** Batches that the worker permits and that were sent, both since the session began. */
  granted: number;
  dispatched: number;
  lastDispatchMs: number;
  /** The turn in which a model that goes before others was left to wait for it. */
  promisedIn: number;
  /** Since when `batches[0]` has had the slot, as far as that is seen from here. */
  heldSinceMs: number;
};

/** How long the batch that runs on a slot has had it, in ms; 0 where none runs. */
export function runningMs({ batches, heldSinceMs }: Slot, nowMs: number): number {
  return batches.length === 0 ? 0 : Math.max(0, nowMs - heldSinceMs);
}

/** A worker's session: its slots with their credit, and the models that it serves. */
export class WorkerSession extends PeerSession {
  readonly slots: readonly Slot[];
  /** Payload bytes that may be out at the worker at one time; a single request may exceed it alone. */
  readonly bytesMax: number;
  bytesOut = 0;
  /** Batches that it has, over all slots. */
  batchesOut = 0;
  /** The request that runs alone at the worker: while it is out nothing else is sent. */
  isolated: Batch | undefined;
  /** Its ready models, by version; the entry holds the worker's own number, as JOB needs it. */
  readonly models = new Map<ModelVersion, WorkerModel>();
  /** What it served before it asked to be sent nothing new. */
  withdrawn: readonly ModelVersion[] = [];
  readonly handOver = new HandOver();
  /** A moving average of what its runs take, in proportion to the curve; and that beside the median of its kind: 2 is half as fast. */
  pace = 1;
  slowness = 1;
  /** In virtual time, how far the furthest has got of the models that wait for its slots; kept by `turn-order.ts`. */
  furthestMs = -Infinity;
  /** What it has run of each version. Bounded: a worker that lives long may have served any number. */
  readonly work = new Map<ModelVersion, WorkTally>();

  constructor(
    hello: {
      readonly peer: string;
      readonly instance: string;
      readonly stamp: Stamp;
      readonly content: Content<"HELLO">;
    },
    nowMs: number,
  ) {
    super(hello, nowMs);
    this.bytesMax = hello.content.bytesMax;
    this.slots = Array.from({ length: hello.content.slots }, (_, index) => ({
      worker: this,
      index,
      batches: [],
      granted: 0,
      dispatched: 0,
      lastDispatchMs: -Infinity,
      promisedIn: -1,
      heldSinceMs: -Infinity,
    }));
  }

  /** Takes a cumulative grant: repeated and reordered ones do no harm, and neither do slots that do not exist. */
  grant(granted: readonly number[]): void {
    for (const slot of this.slots) this.grantSlot(slot, granted[slot.index] ?? 0);
  }

  /** Takes the grant that comes with the answer to a batch, for its slot. */
  grantSlot(slot: Slot, granted: number): void {
    slot.granted = Math.max(slot.granted, granted);
  }

  /** Whether a batch that begins with a request of this size may be sent. */
  hasRoom(bytes: number): boolean {
    return this.bytesOut === 0 || this.bytesOut + bytes <= this.bytesMax;
  }

  findBatch(id: number): Batch | undefined {
    for (const slot of this.slots) {
      for (const batch of slot.batches) if (batch.id === id) return batch;
    }
    return undefined;
  }

  /** Puts a batch on its slot: it is sent now. */
  take(batch: Batch): void {
    const { slot } = batch;
    if (slot.batches.length === 0) slot.heldSinceMs = batch.dispatchedMs;
    slot.batches.push(batch);
    slot.dispatched++;
    slot.lastDispatchMs = batch.dispatchedMs;
    this.bytesOut += batch.bytes;
    this.batchesOut++;
    if (batch.isIsolated) this.isolated = batch;
  }

  /** Notes what a batch that it has answered took. */
  ran(batch: Batch, computeMs: number): void {
    let tally = this.work.get(batch.model);
    if (tally === undefined) {
      this.work.set(batch.model, (tally = new WorkTally()));
      if (this.work.size > LIMITS.list) this.work.delete(this.work.keys().next().value!);
    }
    tally.record(batch.rows, computeMs);
  }

  /** Takes a batch off its slot: it has been answered, handed back or lost. What was staged behind it runs from now on. */
  retire(batch: Batch, nowMs: number): void {
    const { slot } = batch;
    const { batches } = slot;
    const at = batches.indexOf(batch);
    if (at < 0) return;
    batches.splice(at, 1);
    this.bytesOut -= batch.bytes;
    this.batchesOut--;
    if (this.isolated === batch) this.isolated = undefined;
    const next = batches[0];
    if (at > 0 || next === undefined) return;
    next.predictedEndMs = nowMs + next.predictedMs;
    slot.heldSinceMs = nowMs;
  }
}

import type { Curve, SlotGroup } from "@millrace/scheduling";
import type { ModelVersion } from "../models/model-version.ts";
import { areUneven } from "../models/worker-speed.ts";
import { scaled } from "./policy-view.ts";
import type { Slot, WorkerSession } from "../sessions/worker-session.ts";

/** Workers of a kind are told apart by speed in so many steps an octave: those of one step are taken for the slowest of them. */
const STEPS_PER_OCTAVE = 2;

type Group = { readonly curve: Curve; slowness: number; usualSlots: number; freeInMs: number };

/**
 * The slots of a model by how fast they are, the fastest first; those of workers that take nothing now are left out, and so is who has
 * not said when it is free. O(slots).
 */
export function slotGroups(model: ModelVersion, bucket: string, nowMs: number): SlotGroup[] {
  if (!areUneven(model)) return evenSlots(model, bucket, nowMs);
  const groups = new Map<string, Group>();
  for (const worker of model.workers) {
    const freeInMs = firstFreeInMs(worker, model.slotsOf(worker), nowMs);
    if (freeInMs === Infinity) continue;
    const { slowness } = worker;
    const { fingerprint } = worker.models.get(model)!;
    const key = `${Math.round(STEPS_PER_OCTAVE * Math.log2(slowness))} ${fingerprint}`;
    let group = groups.get(key);
    if (group === undefined)
      groups.set(key, (group = { curve: model.curve(bucket, fingerprint), slowness, usualSlots: 0, freeInMs }));
    group.slowness = Math.max(group.slowness, slowness);
    group.usualSlots += model.slotsOf(worker).length / slowness;
    group.freeInMs = Math.min(group.freeInMs, freeInMs);
  }
  const all = Array.from(groups.values(), ({ curve, slowness, usualSlots, freeInMs }) => ({
    slots: usualSlots * slowness,
    freeInMs,
    predict: (rows: number) => scaled(curve.predict(rows), slowness),
  }));
  if (all.length < 2) return all;
  const { maxBatchSize } = model.description;
  const batchMs = ({ predict }: SlotGroup): number => predict(maxBatchSize)?.q50Ms ?? Infinity;
  return all.sort((a, b) => batchMs(a) - batchMs(b) || 0);
}

/** As above, where one group is all there is: for every new request while deadlines are near. */
function evenSlots(model: ModelVersion, bucket: string, nowMs: number): SlotGroup[] {
  let [slots, freeInMs, fingerprint] = [0, Infinity, ""];
  for (const worker of model.workers) {
    const own = model.slotsOf(worker);
    const ownMs = firstFreeInMs(worker, own, nowMs);
    if (ownMs === Infinity) continue;
    if (slots === 0) ({ fingerprint } = worker.models.get(model)!);
    slots += own.length;
    freeInMs = Math.min(freeInMs, ownMs);
  }
  if (slots === 0) return [];
  const curve = model.curve(bucket, fingerprint);
  return [{ slots, freeInMs, predict: (rows) => curve.predict(rows) }];
}

/** In how many ms one of its slots will be done with all that it has; Infinity where it takes nothing, or none can be told. */
function firstFreeInMs({ state, handOver }: WorkerSession, slots: readonly Slot[], nowMs: number): number {
  if (state !== "active") return Infinity;
  let firstMs = Infinity;
  for (const { batches } of slots)
    firstMs = Math.min(firstMs, Math.max(0, (batches.at(-1)?.predictedEndMs ?? nowMs) - nowMs));
  return firstMs + handOver.ms;
}

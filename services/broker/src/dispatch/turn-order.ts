import { rowsOfRun } from "@millrace/protocol";
import type { Prediction } from "@millrace/scheduling";
import type { ModelVersion } from "../models/model-version.ts";
import type { Request } from "./request.ts";
import type { Batch } from "../sessions/worker-session.ts";

/** Puts those whose turn it is before all others, whatever their slack, in ms. */
const AHEAD_MS = 1e12;

/** Puts each class before the less urgent ones, in ms. */
const CLASS_MS = 1e9;

/** Nothing is known yet: runs are the only way to learn. */
const UNKNOWN: Prediction = { q50Ms: 0, q95Ms: 0 };

/** Notes at each worker how far the furthest has got of the models that wait for its slots, for `turnKey`. O(models × their workers). */
export function markFurthest(waiting: Iterable<ModelVersion>): void {
  for (const { workers } of waiting) for (const worker of workers) worker.furthestMs = -Infinity;
  for (const model of waiting) moveFurthest(model);
}

/** A model has got further in this turn. O(its workers). */
export function moveFurthest({ workers, fairShare: { startMs } }: ModelVersion): void {
  for (const worker of workers) worker.furthestMs = Math.max(worker.furthestMs, startMs);
}

/**
 * The place of a model among those that wait for the same slots; the smallest goes first. By the class of its head, then least slack
 * first: what is left of the budget of its head once the batch has run. But a model that would not be ahead of another even after its next batch goes
 * before all that are (FairShare): so no model starves, each gets its share of the compute time while it has something waiting, and
 * a fast model waits for no more than the batch of a slow one that runs already.
 */
export function turnKey(model: ModelVersion, head: Request): number {
  const { q50Ms, q95Ms } = nextBatch(model, head);
  let furthestMs = -Infinity;
  for (const worker of model.workers) furthestMs = Math.max(furthestMs, worker.furthestMs);
  const key = head.classIndex * CLASS_MS + head.deadlineMs - q95Ms;
  return model.fairShare.isBehind(furthestMs, q50Ms, model.share) ? key - AHEAD_MS : key;
}

/** A batch leaves: its model pays for it, and all that could have had its slot have waited for it. O(models of the worker). */
export function chargeFor({ model, slot, predictedMs }: Batch): void {
  const startMs = model.fairShare.ran(Number.isFinite(predictedMs) ? predictedMs : 0, model.share);
  for (const other of slot.worker.models.keys()) other.fairShare.passed(startMs);
}

/** A batch was answered: its model pays what it took. */
export function settleFor({ model, predictedMs }: Batch, computeMs: number): void {
  model.fairShare.settle(computeMs - (Number.isFinite(predictedMs) ? predictedMs : 0), model.share);
}

/** How long the batch would run that begins with `head`, were all that waits sent. */
function nextBatch(model: ModelVersion, head: Request): Prediction {
  const [worker] = model.workers;
  const entry = worker?.models.get(model);
  if (entry === undefined) return UNKNOWN;
  const rows = head.alone
    ? head.rows
    : Math.min(Math.max(head.rows, model.backlog.headRows), rowsOfRun(entry.model, head.item));
  return model.curve(head.bucket, entry.fingerprint).predict(rows) ?? UNKNOWN;
}

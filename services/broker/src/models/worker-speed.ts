import type { ModelVersion } from "./model-version.ts";
import type { WorkerSession } from "../sessions/worker-session.ts";

/** Weight of the newest batch in a worker's pace. */
const WEIGHT = 0.1;

/** Workers of one kind differ by this without being called slow or fast: the noise of a pace. */
const EVEN_SHARE = 0.2;

/** A run of more than this many times its prediction is a stall: of the machine, not of the model. */
const STALL_FACTOR = 3;

/** What is rarer than this is not learned: plans look at the 95th percentile, and one stall must not stop all. */
const STALL_SHARE_MAX = 0.02;
const STALL_WEIGHT = 1 / 64;

/**
 * Learns how a run compares with what the curve says of its kind of worker: what the worker's speed is beside that of the median of them, so
 * that the one curve of a kind stands for all. Returns the time as the median worker would have taken it, or NaN for a stall, of
 * which nothing is learned. O(workers · log workers) a batch.
 */
export function learnSpeed(
  model: ModelVersion,
  worker: WorkerSession,
  run: { readonly ms: number; readonly usualMs: number },
): number {
  const { ms, usualMs } = run;
  const isStall = ms > STALL_FACTOR * usualMs * worker.slowness;
  model.stallShare += STALL_WEIGHT * (Number(isStall) - model.stallShare);
  if (isStall && model.stallShare < STALL_SHARE_MAX) return NaN;
  // What this run tells is not taken off it: when all become slower, the first that shows it is not the slow one.
  const { slowness: before } = worker;
  worker.pace += WEIGHT * (ms / usualMs - worker.pace);
  const slowness = worker.pace / medianPace(model, worker);
  worker.slowness = Math.abs(slowness - 1) < EVEN_SHARE ? 1 : slowness;
  return ms / before;
}

/** The curve says now what was beginning to look like a worker's own speed: paces are learned anew, beside it. */
export function forgetSpeeds({ workers }: ModelVersion): void {
  for (const worker of workers) worker.pace = worker.slowness = 1;
}

/** Of the workers of the model, each beside the curve of its own kind: the lower of two. */
function medianPace({ workers }: ModelVersion, worker: WorkerSession): number {
  const paces: number[] = [];
  for (const other of workers) paces.push(other.pace);
  paces.sort((a, b) => a - b);
  return paces[(paces.length - 1) >> 1] ?? worker.pace;
}

/** Whether the workers of a model differ in kind or speed: then a slot is chosen by when the batch would be done. O(workers). */
export function areUneven(model: ModelVersion): boolean {
  let kind: string | undefined;
  for (const worker of model.workers) {
    if (worker.slowness !== 1) return true;
    const { fingerprint } = worker.models.get(model)!;
    if (kind !== undefined && fingerprint !== kind) return true;
    kind = fingerprint;
  }
  return false;
}

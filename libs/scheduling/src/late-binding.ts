/** Timers fire up to this much late, in ms: what is nearer cannot be timed. */
export const TIMER_GRAIN_MS = 1;

/** A batch that runs, as far as the decision about the one behind it goes. */
export type RunningBatch = {
  readonly rows: number;
  /** Its predicted compute time; Infinity where the curve knows nothing. */
  readonly predictedMs: number;
  /** When its answer should be here. */
  readonly predictedEndMs: number;
};

/** A running batch is late, and the prediction void, when it is over by a quarter of its time or by this, in ms. */
const LATE_MIN_MS = 1;
const LATE_SHARE = 0.25;

/** From when on a running batch is late. */
export function lateAtMs({ predictedMs, predictedEndMs }: RunningBatch): number {
  return predictedEndMs + Math.max(LATE_MIN_MS, LATE_SHARE * predictedMs);
}

/**
 * When the next batch should leave for a slot, so that it is there at the moment the running one ends and is bound as late as
 * possible. `handOverMs`: what would pass between the two runs if it was sent only after the answer of the first.
 *
 * −Infinity: nothing runs, at once. Infinity: nobody knows when the running one ends (no curve yet, or it is late), so not
 * before its answer.
 */
export function sendAtMs(running: RunningBatch | undefined, handOverMs: number, nowMs: number): number {
  if (running === undefined) return -Infinity;
  if (nowMs > lateAtMs(running)) return Infinity;
  return running.predictedEndMs - handOverMs;
}

/**
 * Whether a batch of `rows` that should leave at `atMs` leaves now. What is due within the timer's grain leaves now, because a
 * timer would come too late; unless it is smaller than what runs and could still grow: behind a large batch a small one would
 * take the place in which, at full load, all that wait for the answers of the large one gather. That one leaves with the next
 * event or timer after `atMs`.
 */
export function isDue(
  batch: { readonly atMs: number; readonly rows: number; readonly rowsMax: number },
  running: RunningBatch | undefined,
  nowMs: number,
): boolean {
  if (batch.atMs <= nowMs) return true;
  return batch.atMs <= nowMs + TIMER_GRAIN_MS && batch.rows >= Math.min(batch.rowsMax, running?.rows ?? 1);
}

/** Assumed before the first measurement, in ms. */
const INITIAL_MS = 0.3;

/** Bounds: a measurement that a busy machine spoiled must not make batches leave far too early. */
const MIN_MS = 0.1;
const MAX_MS = 5;

/** Weight of the newest measurement in the moving average. */
const WEIGHT = 0.05;

/**
 * The measured time that passes between two runs of a slot where nothing is sent ahead: the answer's way here, the next batch's
 * way there, and what it takes to start it. That is how long before the predicted answer the next batch has to leave.
 * Fed with the round trips of batches that were sent to an idle slot, less their compute time.
 */
export class HandOver {
  ms = INITIAL_MS;

  record(sampleMs: number): void {
    const bounded = Math.min(MAX_MS, Math.max(MIN_MS, sampleMs));
    this.ms += WEIGHT * (bounded - this.ms);
  }
}

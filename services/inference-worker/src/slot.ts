import type { Job } from "./job.ts";

/** Batches that one slot is granted at a time: one that runs and one that is staged behind it. */
export const BATCHES_PER_SLOT = 2;

/**
 * One execution lane: at most one batch runs, what else was sent waits in order. Pure bookkeeping of what a slot has and of
 * the credit that follows from it.
 */
export class Slot {
  readonly index: number;
  running: Job | undefined;
  readonly #staged: Job[] = [];
  /** Cumulative since the session began: how many batches the broker may have sent to this slot. */
  granted = 0;

  constructor(index: number) {
    this.index = index;
  }

  /** Batches that are here. */
  get outstanding(): number {
    return this.#staged.length + (this.running === undefined ? 0 : 1);
  }

  stage(job: Job): void {
    this.#staged.push(job);
  }

  /** The next batch, which from now on runs; undefined while one runs or none waits. */
  startNext(): Job | undefined {
    if (this.running !== undefined) return undefined;
    return (this.running = this.#staged.shift());
  }

  /** The running batch is done: its place is granted anew. */
  finish(): void {
    this.running = undefined;
    this.granted++;
  }

  /** Takes out what has not started; each place is granted anew. */
  unstage(): Job[] {
    this.granted += this.#staged.length;
    return this.#staged.splice(0);
  }

  /** A new session counts from zero; what still runs for the old one is not granted twice. */
  resetCredit(): void {
    this.#staged.length = 0;
    this.granted = BATCHES_PER_SLOT - this.outstanding;
  }

  find(batch: number): Job | undefined {
    return this.running?.batch === batch ? this.running : this.#staged.find((job) => job.batch === batch);
  }
}

import type { Job, Session } from "./job.ts";

/** Batches that a broker is granted at a time in each slot: one that runs and one that is staged behind it. */
const BATCHES_PER_SLOT = 2;

/**
 * One execution lane: at most one batch runs, what else was sent waits in order, whichever broker sent it. Pure bookkeeping of
 * what a slot has and of the credit that follows from it.
 */
export class Slot {
  readonly index: number;
  running: Job | undefined;
  readonly #staged: Job[] = [];

  constructor(index: number) {
    this.index = index;
  }

  /** Batches that are here. */
  get outstanding(): number {
    return this.#staged.length + (this.running === undefined ? 0 : 1);
  }

  /** What a new session of this broker is granted: what still runs for its previous one is not granted twice. */
  windowOf(broker: string): number {
    return BATCHES_PER_SLOT - (this.running?.session.broker === broker ? 1 : 0);
  }

  stage(job: Job): void {
    this.#staged.push(job);
  }

  /** The next batch, which from now on runs; undefined while one runs or none waits. */
  startNext(): Job | undefined {
    if (this.running !== undefined) return undefined;
    return (this.running = this.#staged.shift());
  }

  /** The running batch is done. */
  finish(): void {
    this.running = undefined;
  }

  /** Takes out what a session has sent and has not started. */
  unstage(session: Session): Job[] {
    const taken = this.#staged.filter((job) => job.session === session);
    const kept = this.#staged.filter((job) => job.session !== session);
    this.#staged.splice(0, this.#staged.length, ...kept);
    return taken;
  }

  find(session: Session, batch: number): Job | undefined {
    const isIt = (job: Job): boolean => job.session === session && job.batch === batch;
    return this.running !== undefined && isIt(this.running) ? this.running : this.#staged.find(isIt);
  }
}

import { Worker } from "node:worker_threads";

/**
 * What the thread is given: times in milliseconds from `startNs`, a reading of process.hrtime, which all threads share, and numbers
 * that both see: `PACE`.
 */
export type PacerData = {
  readonly arrivalsMs: Float64Array<SharedArrayBuffer>;
  readonly startNs: bigint;
  readonly pace: Int32Array<SharedArrayBuffer>;
};

/** Places in shared memory: counts of arrivals, and whether a call is on its way (0, 1). */
export const PACE = {
  /** Due when the thread called last. */
  due: 0,
  /** Seen, or going to be seen, by the thread of the owner without a call. */
  seen: 1,
  called: 2,
  /** Never changes: what a thread waits for that wants to sleep. */
  idle: 3,
} as const;

/** Between two looks, in milliseconds: as long as may be where half of what is dense shall leave within a quarter of a millisecond. */
export const LOOK_EVERY_MS = 0.35;

/** Arrivals are dense where so many of them come within so many milliseconds. */
const DENSE_ARRIVALS = 64;
const DENSE_MS = 8;

/**
 * Says when arrivals are due, to a tenth of a millisecond or so. A timer of the event loop would know whole milliseconds only,
 * and a loop that waits would take a core from what is measured: so a thread sleeps until the next arrival, and calls.
 *
 * A call costs as much as a request. So where arrivals are dense (8,000 a second) their owner's own thread looks, and sleeps from look
 * to look: what comes meanwhile, answers too, is seen up to `LOOK_EVERY_MS` late, and awakenings are shared, here and at those whom it
 * loads. A latency is told too long by up to twice as much, never too short.
 */
export class Pacer {
  readonly #worker: Worker;
  readonly #arrivalsMs: Float64Array;
  readonly #startMs: number;
  readonly #onDue: (due: number) => void;
  readonly #pace = new Int32Array(new SharedArrayBuffer(4 * Object.keys(PACE).length));
  #due = 0;
  /** As many are seen by looks that follow one another. */
  #looksUntil = 0;
  #lookedMs = 0;
  #isStopped = false;

  /**
   * `startMs`, from which arrivals (ascending) count, is a time of performance.now(). `onDue` hears how many of them are due by now,
   * in growing numbers.
   */
  constructor(arrivalsMs: Float64Array, startMs: number, onDue: (due: number) => void) {
    const shared = new Float64Array(new SharedArrayBuffer(arrivalsMs.byteLength));
    shared.set(arrivalsMs);
    this.#arrivalsMs = arrivalsMs;
    this.#startMs = startMs;
    this.#onDue = onDue;
    const startNs = process.hrtime.bigint() + BigInt(Math.round((startMs - performance.now()) * 1e6));
    const workerData: PacerData = { arrivalsMs: shared, startNs, pace: this.#pace };
    this.#worker = new Worker(new URL("pacer-thread.ts", import.meta.url), { workerData });
    this.#worker.on("message", () => this.#onCall());
    this.#worker.on("error", (error) => {
      throw error;
    });
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#worker.terminate();
  }

  #onCall(): void {
    Atomics.store(this.#pace, PACE.called, 0);
    const isLooking = this.#due < this.#looksUntil;
    this.#look(Atomics.load(this.#pace, PACE.due));
    if (!isLooking && this.#due < this.#looksUntil) setImmediate(this.#lookOn);
  }

  /** From here the loop goes on to what has come in the meantime, and returns. */
  readonly #lookOn = (): void => {
    if (this.#isStopped) return;
    const leftMs = this.#lookedMs + LOOK_EVERY_MS - performance.now();
    if (leftMs > 0) Atomics.wait(this.#pace, PACE.idle, 0, leftMs);
    this.#look(0);
    if (this.#due < this.#looksUntil) setImmediate(this.#lookOn);
  };

  /** At least `called` are due, whatever the clock of this thread says. */
  #look(called: number): void {
    const arrivalsMs = this.#arrivalsMs;
    this.#lookedMs = performance.now();
    const elapsedMs = this.#lookedMs - this.#startMs;
    const before = this.#due;
    let due = Math.max(before, called);
    while (due < arrivalsMs.length && arrivalsMs[due]! <= elapsedMs) due++;
    this.#due = due;
    const ahead = due + DENSE_ARRIVALS;
    if (ahead < arrivalsMs.length && arrivalsMs[ahead]! <= elapsedMs + DENSE_MS) this.#looksUntil = ahead;
    Atomics.store(this.#pace, PACE.seen, Math.max(due, this.#looksUntil));
    if (due > before) this.#onDue(due);
  }
}

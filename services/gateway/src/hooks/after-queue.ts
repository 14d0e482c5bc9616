/** One call of an `after` hook that is to be made. `bytes`: what it keeps in memory until then. */
export type AfterJob = { readonly bytes: number; readonly run: () => Promise<void> };

export type AfterQueueLimits = {
  /** Calls that run at the same time. */
  readonly runningMax: number;
  /** Calls that wait. */
  readonly waitingMax: number;
  /** Bytes that waiting calls keep. */
  readonly waitingBytesMax: number;
};

/** Calls of `after` hooks, so many at a time and no more waiting than the limits say. A call must not reject, and must end. */
export class AfterQueue {
  readonly #limits: AfterQueueLimits;
  #waiting: AfterJob[] = [];
  #waitingBytes = 0;
  #running = 0;
  #idle: (() => void)[] = [];

  constructor(limits: AfterQueueLimits) {
    this.#limits = limits;
  }

  /** Starts the call, or lets it wait; false, and nothing kept, where no more may wait. */
  add(job: AfterJob): boolean {
    const { runningMax, waitingMax, waitingBytesMax } = this.#limits;
    if (this.#running < runningMax) {
      this.#start(job);
      return true;
    }
    if (this.#waiting.length >= waitingMax || this.#waitingBytes + job.bytes > waitingBytesMax) return false;
    this.#waiting.push(job);
    this.#waitingBytes += job.bytes;
    return true;
  }

  /** Resolves when nothing runs or waits. */
  idle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #start(job: AfterJob): void {
    this.#running++;
    void job.run().finally(() => this.#ended());
  }

  #ended(): void {
    this.#running--;
    const next = this.#waiting.shift();
    if (next !== undefined) {
      this.#waitingBytes -= next.bytes;
      return this.#start(next);
    }
    if (this.#running > 0) return;
    for (const resolve of this.#idle) resolve();
    this.#idle = [];
  }
}

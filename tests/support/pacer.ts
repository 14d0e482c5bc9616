import { Worker } from "node:worker_threads";

/** What the thread is given: times in milliseconds from `startNs`, a reading of process.hrtime, which all threads share. */
export type PacerData = { readonly arrivalsMs: Float64Array<SharedArrayBuffer>; readonly startNs: bigint };

/**
 * Says when arrivals are due, to a tenth of a millisecond or so. A timer of the event loop would know whole milliseconds only,
 * and a loop that waits would take a core from what is measured: so a thread sleeps until each arrival.
 */
export class Pacer {
  readonly #worker: Worker;

  /** `onDue` hears how many of the arrivals (ascending) are due by now, in growing numbers. */
  constructor(arrivalsMs: Float64Array, startNs: bigint, onDue: (due: number) => void) {
    const shared = new Float64Array(new SharedArrayBuffer(arrivalsMs.byteLength));
    shared.set(arrivalsMs);
    const workerData: PacerData = { arrivalsMs: shared, startNs };
    this.#worker = new Worker(new URL("pacer-thread.ts", import.meta.url), { workerData });
    this.#worker.on("message", onDue);
    this.#worker.on("error", (error) => {
      throw error;
    });
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }
}

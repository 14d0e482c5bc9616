import type { TotalsEntry } from "@millrace/protocol";
import type { BatchRun } from "../metrics/observer.ts";
import type { Request } from "../dispatch/request.ts";

/**
 * What has become of the requests of one model version since the broker began, for the statistics that gateways tell. Times in ms,
 * on the broker's clock, each over all requests with a result. Grows and nothing else. The calls are on the path of every request.
 */
export class ModelTotals {
  #requests = 0;
  #failures = 0;
  #rows = 0;
  #batches = 0;
  #requestMs = 0;
  #failureMs = 0;
  #queueMs = 0;
  #inputMs = 0;
  #computeMs = 0;
  #outputMs = 0;
  #lastMs = -Infinity;

  /** A worker has run a batch. */
  ran(nowMs: number): void {
    this.#batches++;
    this.#lastMs = nowMs;
  }

  /** It answered a request: `code` 0 with a result. */
  answered(request: Request, run: BatchRun, code: number): void {
    const queueMs = request.queueMs + request.retryMs;
    const requestMs = queueMs + run.roundTripMs;
    if (code !== 0) {
      this.#failures++;
      this.#failureMs += requestMs;
      return;
    }
    this.#requests++;
    this.#rows += request.rows;
    this.#requestMs += requestMs;
    this.#queueMs += queueMs;
    this.#inputMs += run.batchWaitMs;
    this.#computeMs += run.computeMs;
    this.#outputMs += Math.max(0, run.roundTripMs - run.batchWaitMs - run.computeMs);
  }

  /** Refused at the door. */
  refused(): void {
    this.#failures++;
  }

  /** Shed, expired, given up or cancelled. */
  failed({ queueMs, retryMs }: Request): void {
    this.#failures++;
    this.#failureMs += queueMs + retryMs;
  }

  entry(name: Pick<TotalsEntry, "counter" | "model" | "version">, nowMs: number): TotalsEntry {
    return {
      ...name,
      requests: this.#requests,
      failures: this.#failures,
      rows: this.#rows,
      batches: this.#batches,
      requestUs: micros(this.#requestMs),
      failureUs: micros(this.#failureMs),
      queueUs: micros(this.#queueMs),
      inputUs: micros(this.#inputMs),
      computeUs: micros(this.#computeMs),
      outputUs: micros(this.#outputMs),
      idleMs: this.#batches === 0 ? 0 : Math.max(0, Math.round(nowMs - this.#lastMs)),
    };
  }
}

function micros(ms: number): number {
  return Math.round(ms * 1000);
}

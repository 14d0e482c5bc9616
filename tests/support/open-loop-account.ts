import { LatencyHistogram, type LatencySummary } from "./latency-histogram.ts";

/**
 * How a request of an open loop ended: answered with 200 in time (`attained`) or not (`late`), refused for load (`shed`), or
 * anything else, an answer that never came included (`failed`). All but the first are misses.
 */
export type OpenLoopOutcome = "attained" | "late" | "shed" | "failed";

/** 429 is "too much", 503 "not now", 504 "your time has passed": a server under load may say each. */
const SHED_STATUSES: ReadonlySet<number> = new Set([429, 503, 504]);

/**
 * Requests that were shed, by when that was decided, as far as the server tells how long they waited (`Server-Timing`). Those of a
 * server that does not count as refused at the door.
 */
export type ShedReport = {
  /** Refused before they could wait: from when they were due to the answer. */
  readonly atDoorMs: LatencySummary;
  /** Given up while they waited, with a 429: from when they were due to the answer. */
  readonly laterMs: LatencySummary;
  /** Of those: what is not the wait itself, so from the decision to the answer, the way to the queue included. */
  readonly afterDecisionMs: LatencySummary;
  /** Whose whole time had passed before they were answered: 504. */
  readonly expired: number;
};

/** What became of the requests that were due in one stretch of time. */
export type OpenLoopWindow = {
  readonly fromMs: number;
  readonly outcomes: Readonly<Record<OpenLoopOutcome, number>>;
  /** Of answers with 200; 0 where there was none. */
  readonly p99Ms: number;
};

/** What an open loop came to. Plain data. Latencies count from the scheduled time, not from when the request left. */
export type OpenLoopReport = {
  readonly deadlineMs: number;
  /** Requests that were due. Those that never left, as the load was ended before, count nowhere else. */
  readonly planned: number;
  readonly outcomes: Readonly<Record<OpenLoopOutcome, number>>;
  /** Of those that left; 0 where none did. */
  readonly attainedShare: number;
  /** Of answers with 200, late ones included. */
  readonly okLatencyMs: LatencySummary;
  readonly shedLatencyMs: LatencySummary;
  readonly sheds: ShedReport;
  /** How much later than scheduled requests left, a wait for a free connection included: the generator's own fault. */
  readonly lagMs: LatencySummary;
  /** Where they were asked for: the whole load in stretches of equal length, from the start; the last may be shorter. */
  readonly windows?: readonly OpenLoopWindow[];
};

/** How a request of an open loop ended. Times in milliseconds. */
export type OpenLoopEnd = {
  /** When it was due, from the start of the load. */
  readonly dueMs: number;
  /** From then to its end. */
  readonly latencyMs: number;
  /** Of the answer; undefined where none came. */
  readonly status: number | undefined;
  /** How long it waited for a decision, where the server tells. */
  readonly waitedMs?: number | undefined;
};

/** `status` is that of the answer, undefined where none came. */
export function outcomeOf(status: number | undefined, latencyMs: number, deadlineMs: number): OpenLoopOutcome {
  if (status === 200) return latencyMs <= deadlineMs ? "attained" : "late";
  return status !== undefined && SHED_STATUSES.has(status) ? "shed" : "failed";
}

type Window = { readonly outcomes: Record<OpenLoopOutcome, number>; readonly ok: LatencyHistogram };

const noOutcomes = (): Record<OpenLoopOutcome, number> => ({ attained: 0, late: 0, shed: 0, failed: 0 });

/** Counts what becomes of the requests of an open loop. */
export class OpenLoopAccount {
  readonly #deadlineMs: number;
  readonly #windowMs: number;
  readonly #outcomes = noOutcomes();
  readonly #ok = new LatencyHistogram();
  readonly #shed = new LatencyHistogram();
  readonly #shedAtDoor = new LatencyHistogram();
  readonly #shedLater = new LatencyHistogram();
  readonly #afterDecision = new LatencyHistogram();
  readonly #lag = new LatencyHistogram();
  readonly #windows: Window[] = [];
  #expired = 0;

  /** `windowMs`: report stretches of that length, too. */
  constructor(deadlineMs: number, windowMs = 0) {
    this.#deadlineMs = deadlineMs;
    this.#windowMs = windowMs;
  }

  /** A request left, that much after its time. */
  sent(lagMs: number): void {
    this.#lag.record(lagMs);
  }

  ended({ dueMs, latencyMs, status, waitedMs = 0 }: OpenLoopEnd): void {
    const outcome = outcomeOf(status, latencyMs, this.#deadlineMs);
    this.#outcomes[outcome] += 1;
    if (outcome === "shed") this.#countShed(status, latencyMs, waitedMs);
    else if (outcome !== "failed") this.#ok.record(latencyMs);
    if (this.#windowMs === 0) return;
    const window = this.#windowAt(dueMs);
    window.outcomes[outcome] += 1;
    if (outcome === "attained" || outcome === "late") window.ok.record(latencyMs);
  }

  report(planned: number): OpenLoopReport {
    const { attained, late, shed, failed } = this.#outcomes;
    const ended = attained + late + shed + failed;
    return {
      deadlineMs: this.#deadlineMs,
      planned,
      outcomes: { attained, late, shed, failed },
      attainedShare: ended === 0 ? 0 : attained / ended,
      okLatencyMs: this.#ok.summary(),
      shedLatencyMs: this.#shed.summary(),
      sheds: {
        atDoorMs: this.#shedAtDoor.summary(),
        laterMs: this.#shedLater.summary(),
        afterDecisionMs: this.#afterDecision.summary(),
        expired: this.#expired,
      },
      lagMs: this.#lag.summary(),
      ...(this.#windowMs === 0 ? {} : { windows: this.#windows.map((window, i) => this.#toWindow(window, i)) }),
    };
  }

  #countShed(status: number | undefined, latencyMs: number, waitedMs: number): void {
    this.#shed.record(latencyMs);
    if (status === 504) this.#expired += 1;
    else if (waitedMs === 0) this.#shedAtDoor.record(latencyMs);
    else {
      this.#shedLater.record(latencyMs);
      this.#afterDecision.record(Math.max(0, latencyMs - waitedMs));
    }
  }

  #windowAt(dueMs: number): Window {
    const at = Math.floor(dueMs / this.#windowMs);
    while (this.#windows.length <= at) this.#windows.push({ outcomes: noOutcomes(), ok: new LatencyHistogram() });
    return this.#windows[at]!;
  }

  #toWindow({ outcomes, ok }: Window, at: number): OpenLoopWindow {
    return { fromMs: at * this.#windowMs, outcomes: { ...outcomes }, p99Ms: ok.quantile(0.99) };
  }
}

import { LatencyHistogram, type LatencySummary } from "./latency-histogram.ts";

/**
 * How a request of an open loop ended: answered with 200 in time (`attained`) or not (`late`), refused for load (`shed`), or
 * anything else, an answer that never came included (`failed`). All but the first are misses.
 */
export type OpenLoopOutcome = "attained" | "late" | "shed" | "failed";

/** 429 is "too much", 503 "not now", 504 "your time has passed": a server under load may say each. */
const SHED_STATUSES: ReadonlySet<number> = new Set([429, 503, 504]);

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
  /** How much later than scheduled requests left, a wait for a free connection included: the generator's own fault. */
  readonly lagMs: LatencySummary;
};

/** `status` is that of the answer, undefined where none came. */
export function outcomeOf(status: number | undefined, latencyMs: number, deadlineMs: number): OpenLoopOutcome {
  if (status === 200) return latencyMs <= deadlineMs ? "attained" : "late";
  return status !== undefined && SHED_STATUSES.has(status) ? "shed" : "failed";
}

/** Counts what becomes of the requests of an open loop. */
export class OpenLoopAccount {
  readonly #deadlineMs: number;
  readonly #outcomes: Record<OpenLoopOutcome, number> = { attained: 0, late: 0, shed: 0, failed: 0 };
  readonly #ok = new LatencyHistogram();
  readonly #shed = new LatencyHistogram();
  readonly #lag = new LatencyHistogram();

  constructor(deadlineMs: number) {
    this.#deadlineMs = deadlineMs;
  }

  /** A request left, that much after its time. */
  sent(lagMs: number): void {
    this.#lag.record(lagMs);
  }

  /** A request has ended; `status` undefined: without an answer. `latencyMs` is from its scheduled time. */
  ended(status: number | undefined, latencyMs: number): void {
    const outcome = outcomeOf(status, latencyMs, this.#deadlineMs);
    this.#outcomes[outcome] += 1;
    if (outcome === "shed") this.#shed.record(latencyMs);
    else if (outcome !== "failed") this.#ok.record(latencyMs);
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
      lagMs: this.#lag.summary(),
    };
  }
}

import type { LiveSystem } from "./live-system.ts";
import { probe, type ProbeOptions, probeTogether } from "./probe.ts";
import { isMet, type PartFindings, type SuiteCheck, type SuiteProbe } from "./results.ts";

export type PartContext = {
  /** Slots, one a worker. */
  readonly workers: number;
  /** Durations are multiplied by it. */
  readonly scale: number;
  readonly seed: number;
  readonly signal: AbortSignal;
  /** Hears how far it is. */
  readonly say: (text: string) => void;
  /** A figure that another part has found, with as many workers unless told otherwise. */
  readonly factOf: (part: string, name: string, workers?: number) => number | undefined;
};

/** One line of the suite: a row of the table of parts. */
export type PartRow = {
  /** As in docs/scheduling.md, and on the command line. */
  readonly name: string;
  readonly title: string;
  /** With how many workers it is run, each by itself. */
  readonly workers: readonly number[];
  /** Why it cannot be run, or "". */
  missing?(context: PartContext): string;
  run(run: PartRun): Promise<void>;
};

/** One run of a part: probes live systems, and collects what it finds. */
export class PartRun {
  readonly context: PartContext;
  readonly #probes: SuiteProbe[] = [];
  readonly #checks: SuiteCheck[] = [];
  readonly #facts: Record<string, number> = {};

  constructor(context: PartContext) {
    this.context = context;
  }

  get findings(): PartFindings {
    return { probes: this.#probes, checks: this.#checks, facts: this.#facts };
  }

  /** So many seconds at full length, in ms, at least two seconds' worth. */
  durationMs(seconds: number): number {
    return Math.max(2_000, seconds * 1_000 * this.context.scale);
  }

  /** @throws what the signal was aborted with; WrongAnswer. */
  async probe(live: LiveSystem, options: ProbeOptions): Promise<SuiteProbe> {
    const [result] = await this.probeTogether(live, [options]);
    return result!;
  }

  async probeTogether(live: LiveSystem, options: readonly ProbeOptions[]): Promise<SuiteProbe[]> {
    this.context.signal.throwIfAborted();
    const results = await probeTogether(live, options);
    for (const result of results) {
      this.#probes.push(result);
      this.context.say(describe(result));
    }
    return results;
  }

  /** A load that does not count, from which the curve is learnt. */
  async warmUp(
    live: LiveSystem,
    options: Pick<ProbeOptions, "model" | "deadlineMs" | "headers">,
    ratePerSecond: number,
  ): Promise<void> {
    this.context.signal.throwIfAborted();
    const arrivals = { kind: "poisson", ratePerSecond, durationMs: this.durationMs(3), seed: 99 } as const;
    await probe(live, { name: "warm-up", arrivals, ...options });
  }

  check(check: SuiteCheck): void {
    this.#checks.push(check);
    this.context.say(`${isMet(check) ? "met" : "MISSED"}  ${checkText(check)}`);
  }

  fact(name: string, value: number): void {
    this.#facts[name] = value;
  }
}

export function checkText({ what, value, unit, atLeast, atMost }: SuiteCheck): string {
  const bounds = [...(atLeast === undefined ? [] : [`≥ ${atLeast}`]), ...(atMost === undefined ? [] : [`≤ ${atMost}`])];
  return `${what}: ${Number(value.toPrecision(4))}${unit === "" ? "" : ` ${unit}`} (${bounds.join(", ")})`;
}

function describe({ name, ratePerSecond, openLoop, meanBatchRows, cores }: SuiteProbe): string {
  const { okLatencyMs, attainedShare, lagMs, outcomes } = openLoop;
  const system = Object.values(cores.byProcess).reduce((sum, one) => sum + one, 0);
  const parts = [
    `${name}: ${Math.round(ratePerSecond)}/s`,
    `${(100 * attainedShare).toFixed(2)} % in time`,
    `p50 ${okLatencyMs.p50.toFixed(0)} p99 ${okLatencyMs.p99.toFixed(0)} ms`,
    `late ${outcomes.late} shed ${outcomes.shed} failed ${outcomes.failed}`,
    `${meanBatchRows.toFixed(1)} rows a run`,
    `lag p99 ${lagMs.p99.toFixed(1)} ms`,
    `cores ${system.toFixed(2)} + load ${cores.load.toFixed(2)} + others ${cores.others.toFixed(2)}`,
  ];
  return parts.join(", ");
}

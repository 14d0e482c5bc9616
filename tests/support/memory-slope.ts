import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const SAMPLE_EVERY_MS = 500;
const WINDOW_MS = 10_000;
const TEN_MINUTES_MS = 600_000;

type Sample = { readonly atMs: number; readonly bytes: number };

/** How a level has changed over a run. */
export type Slope = { readonly firstBytes: number; readonly lastBytes: number; readonly percentPerTenMinutes: number };

/** Watches levels of memory while something runs. */
export class MemoryWatch {
  readonly #levels = new Map<string, Sample[]>();
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;

  /** `read` gives the levels, in bytes, by name; where it fails, as on a machine that is busy, a sample is missing. */
  constructor(read: () => Promise<Readonly<Record<string, number>>>) {
    this.#watching = this.#watch(read);
  }

  /** Reads no more. */
  stop(): Promise<void> {
    this.#stop.abort();
    return this.#watching;
  }

  /** Of what was seen from `fromMs` on, on the clock of `performance.now()`. */
  slopes(fromMs: number): Readonly<Record<string, Slope>> {
    const pairs = [...this.#levels].map(([name, samples]) => {
      return [name, slopeOf(samples.filter(({ atMs }) => atMs >= fromMs))] as const;
    });
    return Object.fromEntries(pairs);
  }

  async #watch(read: () => Promise<Readonly<Record<string, number>>>): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const atMs = performance.now();
      for (const [name, bytes] of Object.entries(await read().catch(() => ({})))) {
        if (!this.#levels.has(name)) this.#levels.set(name, []);
        this.#levels.get(name)!.push({ atMs, bytes });
      }
      // Only an end of the wait is meant by the abort.
      await sleep(SAMPLE_EVERY_MS, undefined, { signal: this.#stop.signal }).catch(() => {});
    }
  }
}

/**
 * The line of least squares through the lowest level of each ten seconds, which is what is left when garbage has been collected, as
 * a share of its mean. NaN where there are fewer than two such windows.
 */
export function slopeOf(samples: readonly Sample[]): Slope {
  const windows = Map.groupBy(samples, ({ atMs }) => Math.floor(atMs / WINDOW_MS));
  const floors = [...windows.values()].map((all) => all.reduce((low, one) => (one.bytes < low.bytes ? one : low)));
  const mean = (of: (one: Sample) => number): number => floors.reduce((sum, one) => sum + of(one), 0) / floors.length;
  const atMs = mean((one) => one.atMs);
  const bytes = mean((one) => one.bytes);
  const covariance = mean((one) => (one.atMs - atMs) * (one.bytes - bytes));
  const bytesPerMs = covariance / mean((one) => (one.atMs - atMs) ** 2);
  return {
    firstBytes: floors[0]?.bytes ?? NaN,
    lastBytes: floors.at(-1)?.bytes ?? NaN,
    percentPerTenMinutes: ((100 * bytesPerMs) / bytes) * TEN_MINUTES_MS,
  };
}

/** The memory of a process that is resident, in bytes. */
export function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kilobytes) * 1024;
}

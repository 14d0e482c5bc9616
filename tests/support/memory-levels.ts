import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

/** Set in the environment of a system: the folder for the sockets of its probes. */
export const FOLDER_VARIABLE = "TEST_MEMORY_PROBES";

const SAMPLE_EVERY_MS = 2_000;
const TEN_MINUTES_MS = 600_000;

/** The environment that puts a probe into every process of a system. */
export function memoryProbeEnvironment(folder: string): Readonly<Record<string, string>> {
  const probe = pathToFileURL(join(import.meta.dirname, "memory-probe.ts"));
  return { NODE_OPTIONS: `--expose-gc --import ${probe.href}`, [FOLDER_VARIABLE]: folder };
}

/** What is left in a process when all garbage is collected, in bytes; `name` is its MILLRACE_NAME. */
export function takeLevels(folder: string, name: string): Promise<Readonly<Record<string, number>>> {
  return new Promise((resolve, reject) => {
    const socket = connect(join(folder, name)).setEncoding("utf8");
    let text = "";
    socket.on("data", (chunk: string) => (text += chunk));
    socket.on("error", reject);
    socket.on("end", () => resolve(JSON.parse(text) as Record<string, number>));
  });
}

type Sample = { readonly atMs: number; readonly bytes: number };

/** How a level has changed over a run: the line of least squares, as a share of the mean. NaN of fewer than two samples. */
export type Slope = { readonly firstBytes: number; readonly lastBytes: number; readonly percentPerTenMinutes: number };

/** Watches levels of memory while something runs. */
export class MemoryWatch {
  readonly #levels = new Map<string, Sample[]>();
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;

  /** `read` gives the levels, in bytes, by name. */
  constructor(read: () => Promise<Readonly<Record<string, number>>>) {
    this.#watching = this.#watch(read);
    // Whoever does not come to `stop` has failed already.
    this.#watching.catch(() => {});
  }

  /** Reads no more. @throws what `read` has thrown. */
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
      for (const [name, bytes] of Object.entries(await read())) {
        if (!this.#levels.has(name)) this.#levels.set(name, []);
        this.#levels.get(name)!.push({ atMs, bytes });
      }
      // Only an end of the wait is meant by the abort.
      await sleep(SAMPLE_EVERY_MS, undefined, { signal: this.#stop.signal }).catch(() => {});
    }
  }
}

function slopeOf(samples: readonly Sample[]): Slope {
  const mean = (of: (one: Sample) => number): number => samples.reduce((sum, one) => sum + of(one), 0) / samples.length;
  const atMs = mean((one) => one.atMs);
  const bytes = mean((one) => one.bytes);
  const covariance = mean((one) => (one.atMs - atMs) * (one.bytes - bytes));
  const bytesPerMs = covariance / mean((one) => (one.atMs - atMs) ** 2);
  return {
    firstBytes: samples[0]?.bytes ?? NaN,
    lastBytes: samples.at(-1)?.bytes ?? NaN,
    percentPerTenMinutes: ((100 * bytesPerMs) / bytes) * TEN_MINUTES_MS,
  };
}

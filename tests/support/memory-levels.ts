import { connect } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** Set in the environment of a system: where the probe's socket is, and in which process, by its MILLRACE_NAME. */
export const SOCKET_VARIABLE = "TEST_MEMORY_PROBE";
export const PROCESS_VARIABLE = "TEST_MEMORY_PROBE_OF";

const TEN_MINUTES_MS = 600_000;

/** The environment that puts a probe into the process of a system that has this MILLRACE_NAME. */
export function memoryProbeEnvironment(folder: string, name: string): Readonly<Record<string, string>> {
  const probe = pathToFileURL(join(import.meta.dirname, "memory-probe.ts"));
  return {
    NODE_OPTIONS: `--expose-gc --import ${probe.href}`,
    [SOCKET_VARIABLE]: socketIn(folder),
    [PROCESS_VARIABLE]: name,
  };
}

/** What is left in the probe's process when all garbage is collected, in bytes. */
export function takeLevels(folder: string): Promise<Readonly<Record<string, number>>> {
  return new Promise((resolve, reject) => {
    const socket = connect(socketIn(folder)).setEncoding("utf8");
    let text = "";
    socket.on("data", (chunk: string) => (text += chunk));
    socket.on("error", reject);
    socket.on("end", () => resolve(JSON.parse(text) as Record<string, number>));
  });
}

function socketIn(folder: string): string {
  return join(folder, "memory-probe");
}

/** Levels of memory by name, in bytes; `atMs` on the clock of `performance.now()`. */
export type MemorySample = { readonly atMs: number; readonly bytes: Readonly<Record<string, number>> };

/** How a level has changed over a run. */
export type Slope = { readonly firstBytes: number; readonly lastBytes: number; readonly percentPerTenMinutes: number };

/**
 * The slope of a level, as a share of its median: the median of the slopes between all pairs of samples, which a few outliers do not
 * move (Sen, Estimates of the regression coefficient based on Kendall's tau, JASA 63, 1968). NaN of fewer than two samples.
 */
export function slopeOf(name: string, samples: readonly MemorySample[]): Slope {
  const levels = samples.map(({ atMs, bytes }) => ({ atMs, bytes: bytes[name] ?? NaN }));
  const slopes = levels.flatMap((to, i) =>
    levels.slice(0, i).map((from) => (to.bytes - from.bytes) / (to.atMs - from.atMs)),
  );
  return {
    firstBytes: levels[0]?.bytes ?? NaN,
    lastBytes: levels.at(-1)?.bytes ?? NaN,
    percentPerTenMinutes: (100 * medianOf(slopes) * TEN_MINUTES_MS) / medianOf(levels.map(({ bytes }) => bytes)),
  };
}

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? NaN) + (sorted[Math.ceil(middle)] ?? NaN)) / 2;
}

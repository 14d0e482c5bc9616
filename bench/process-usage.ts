import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { cpuMsOf, type TreeProcess } from "../tests/support/process-tree.ts";

/** What some processes have used so far: processor time by name in milliseconds, user and system, ended children included. */
export type CpuReading = ReadonlyMap<string, number>;

/** Processes of one name, such as workers of one server, are added up. */
export function readCpu(processes: readonly TreeProcess[]): CpuReading {
  const reading = new Map<string, number>();
  for (const process of processes) {
    const key = nameOf(process);
    reading.set(key, (reading.get(key) ?? 0) + cpuMsOf(process.pid));
  }
  return reading;
}

/** The name that a process was given, or else its program's. */
export function nameOf({ pid, name }: TreeProcess): string {
  return name === "" ? commandOf(pid) : name;
}

/** Milliseconds between two readings, by name. A name that only one of them has counts as having been at 0. */
export function cpuBetween(before: CpuReading, after: CpuReading): Record<string, number> {
  const names = new Set([...before.keys(), ...after.keys()]);
  return Object.fromEntries(
    [...names].map((name) => [name, Math.max(0, (after.get(name) ?? 0) - (before.get(name) ?? 0))]),
  );
}

/** Processor time that the whole machine has used so far, in milliseconds, user and system, over all cores. */
export function readMachineCpuMs(): number {
  const [user, nice, system] = readQuietly("/proc/stat").split("\n", 1)[0]!.split(/ +/).slice(1, 4).map(Number);
  return ((user ?? 0) + (nice ?? 0) + (system ?? 0)) * MS_PER_TICK;
}

/** Linux fixes the unit of /proc at 100 a second on every architecture that Node runs on. */
const MS_PER_TICK = 10;

/**
 * Memory of some processes in MB (10^6 bytes), pages that several of them share counted once: the sum of their proportional set
 * sizes.
 */
export function memoryMbOf(processes: readonly TreeProcess[]): number {
  const kib = processes.map(({ pid }) =>
    Number(/^Pss: +(\d+) kB$/m.exec(readQuietly(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0),
  );
  return (kib.reduce((sum, one) => sum + one, 0) * 1024) / 1e6;
}

/** The program, or the script that it interprets: "node", "serve_mosec.py". */
function commandOf(pid: number): string {
  const words = readQuietly(`/proc/${pid}/cmdline`).split("\0");
  const script = words.slice(1).find((word) => /\.(py|ts)$/.test(word)) ?? words[0] ?? "";
  return basename(script) || "unknown";
}

/** "" for a process that has gone. */
function readQuietly(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

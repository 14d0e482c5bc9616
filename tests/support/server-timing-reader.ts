import { STAGES, type Stage } from "@millrace/runtime";

export const STAGE_NAMES = Object.keys(STAGES) as readonly Stage[];

/** The durations of a `Server-Timing` header, in milliseconds. @throws Error unless every stage is there, once, in order. */
export function readStages(header: string): Readonly<Record<Stage, number>> {
  const entries = [...header.matchAll(/(?:^|, )(\w+);dur=(\d+(?:\.\d+)?)(?=,|$)/g)];
  const names = entries.map(([, name]) => name);
  if (names.join() !== STAGE_NAMES.join()) throw new Error(`not the ten stages: ${header}`);
  return Object.fromEntries(entries.map(([, name, ms]) => [name, Number(ms)])) as Record<Stage, number>;
}

/** The value that a quarter of the given ones stay below: durations of a machine that has other things to do, too. */
export function lowerQuartile(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 4)] ?? NaN;
}

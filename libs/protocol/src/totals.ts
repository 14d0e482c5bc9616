import { LIMITS } from "./limits.ts";
import type { Content } from "./message.ts";

/** What one broker, in one life of it, has counted of one model version: an entry of TOTALS. */
export type TotalsEntry = Content<"TOTALS">["entries"][number];

/** The fields that only grow. */
const COUNTS = [
  "requests",
  "failures",
  "rows",
  "batches",
  "requestUs",
  "failureUs",
  "queueUs",
  "inputUs",
  "computeUs",
  "outputUs",
] as const satisfies readonly (keyof TotalsEntry)[];

/** Of one model version, over all brokers that ever counted; `lastMs`: of its last answer, on the reader's clock, or -Infinity. */
export type ModelTotals = Readonly<Record<(typeof COUNTS)[number], number>> & {
  readonly model: string;
  readonly version: string;
  readonly lastMs: number;
};

type Kept = { readonly entry: TotalsEntry; readonly lastMs: number };

/**
 * Totals of several brokers, dead ones included: a grow-only counter with a part for each life of a broker. Whoever hears of a
 * part keeps the highest of each count, so entries may come in any order, often, and by way of others, and the sum never falls as
 * long as one of those who have seen a part tells it. Pure. Holds at most LIMITS.list entries, the oldest make room.
 * Source: Shapiro et al., "Conflict-free Replicated Data Types" (2011), G-Counter.
 */
export class TotalsBook {
  readonly #kept = new Map<string, Kept>();

  merge(entries: readonly TotalsEntry[], nowMs: number): void {
    for (const entry of entries) {
      const key = JSON.stringify([entry.counter, entry.model, entry.version]);
      const known = this.#kept.get(key);
      const lastMs = entry.batches === 0 ? -Infinity : nowMs - entry.idleMs;
      this.#kept.set(key, known === undefined ? { entry, lastMs } : higher(known, { entry, lastMs }));
    }
    for (const key of this.#kept.keys()) {
      if (this.#kept.size <= LIMITS.list) break;
      this.#kept.delete(key);
    }
  }

  /** The entries, to be told to others. */
  entries(nowMs: number): TotalsEntry[] {
    return Array.from(this.#kept.values(), ({ entry, lastMs }) => ({
      ...entry,
      idleMs: lastMs === -Infinity ? 0 : Math.max(0, Math.round(nowMs - lastMs)),
    }));
  }

  /** The sums over all brokers, one for each model version. */
  sums(): ModelTotals[] {
    const sums = new Map<string, ModelTotals>();
    for (const { entry, lastMs } of this.#kept.values()) {
      const { model, version } = entry;
      const key = JSON.stringify([model, version]);
      const sum = sums.get(key);
      const counts = countsOf((count) => entry[count] + (sum?.[count] ?? 0));
      sums.set(key, { model, version, ...counts, lastMs: Math.max(lastMs, sum?.lastMs ?? -Infinity) });
    }
    return [...sums.values()];
  }
}

function higher(a: Kept, b: Kept): Kept {
  const counts = countsOf((count) => Math.max(a.entry[count], b.entry[count]));
  return { entry: { ...a.entry, ...counts }, lastMs: Math.max(a.lastMs, b.lastMs) };
}

function countsOf(value: (count: (typeof COUNTS)[number]) => number): Record<(typeof COUNTS)[number], number> {
  return Object.fromEntries(COUNTS.map((count) => [count, value(count)])) as Record<(typeof COUNTS)[number], number>;
}

import { OUTCOMES } from "@millrace/protocol";
import { BROKER_STAGES } from "../metrics/observer.ts";
import { BATCH_CLASSES, COLUMNS, QUANTILES, WINDOW_S } from "./columns.ts";
import { histogramQuantile } from "./quantile.ts";
import { Ring } from "./ring.ts";

/** Models that have a history of their own; what is beyond it counts in the sum of all, and nowhere else. */
const HISTORIES_MAX = 64;

/** Digits of a value that are kept: 0.05 % is finer than a pixel, and keeps what is sent short. */
const DIGITS = 4;

/** A histogram: upper bounds of its buckets without +Inf, and what each holds; the last holds what is above all bounds. */
export type HistogramReading = {
  readonly bounds: ArrayLike<number>;
  readonly counts: ArrayLike<number>;
  readonly count: number;
  readonly sum: number;
};

/** A model, all of its versions together, as it stands: counters since the broker began, and what is there now. */
export type ModelReading = {
  readonly name: string;
  /** Requests that ended, in the order of OUTCOMES. */
  readonly outcomes: ArrayLike<number>;
  /** Requests that ended with ok by their time in the broker: one count for each bucket, that of +Inf last. */
  readonly residence: ArrayLike<number>;
  /** Sums over the requests that a worker answered, in ms, in the order of BROKER_STAGES; `answered`: how many these are. */
  readonly stageMs: ArrayLike<number>;
  readonly answered: number;
  /** Batches that were sent, by their rows; and the time that models ran, in s, summed over slots, running batches included. */
  readonly batchRows: HistogramReading;
  readonly busyS: number;
  /** Requests that wait, how long the oldest of them has, and all that have not ended. */
  readonly queued: number;
  readonly oldestMs: number;
  readonly open: number;
  /** Workers that serve it, and the slots of those of them that are ready. */
  readonly workers: number;
  readonly slots: number;
};

/** When a reading was taken: on the monotonic clock, and on the wall clock for people. In ms. */
export type SampleTime = { readonly nowMs: number; readonly wallMs: number };

export type SamplerOptions = {
  /** Upper bounds of the buckets of `residence`, in ms, without +Inf. */
  readonly bounds: readonly number[];
  /** What metrics call everything that belongs to no model of theirs: it counts in the sum alone. */
  readonly otherModels: string;
  /** When the counters began. */
  readonly nowMs: number;
};

/** Counters of a reading in one row, so that they are subtracted and added without knowing what they are. */
const AT = layout({
  outcomes: OUTCOMES.length,
  stageMs: BROKER_STAGES.length,
  answered: 1,
  batches: BATCH_CLASSES.length,
  batchCount: 1,
  rows: 1,
  busyS: 1,
});

/** One line of the page: a model, or all of them. */
class Series {
  readonly ring = new Ring(COLUMNS.length, WINDOW_S);
  /** Requests that ended since the line began, in the order of OUTCOMES. */
  readonly totals = new Float64Array(OUTCOMES.length);
  latest: readonly number[] = [];
}

type Known = { readonly reading: ModelReading; counters: Float64Array; readonly series: Series | undefined };

/**
 * Turns cumulative readings, one a second, into what each second was like, and keeps the last 15 minutes of it. Pure: the
 * caller brings the readings and the time. A sample costs O(models × buckets).
 */
export class Sampler {
  readonly #bounds: readonly number[];
  readonly #otherModels: string;
  readonly #all = new Series();
  #known = new Map<string, Known>();
  #lastMs: number;

  constructor({ bounds, otherModels, nowMs }: SamplerOptions) {
    this.#bounds = bounds;
    this.#otherModels = otherModels;
    this.#lastMs = nowMs;
  }

  /** Takes the readings of all models that there are. `slots`: those of all workers together. */
  sample(readings: readonly ModelReading[], { nowMs, wallMs }: SampleTime, slots: number): void {
    const seconds = Math.max(0.001, (nowMs - this.#lastMs) / 1000);
    this.#lastMs = nowMs;
    const at = Math.round(wallMs / 100) / 10;
    const sum = new Float64Array(AT.length + this.#bounds.length + 1);
    const known = new Map<string, Known>();
    let histories = 0;
    for (const reading of readings) {
      const before = this.#known.get(reading.name);
      const counters = this.#countersOf(reading);
      const delta = difference(counters, before?.counters);
      for (let i = 0; i < sum.length; i++) sum[i]! += delta[i]!;
      const mayHave = reading.name !== this.#otherModels && histories < HISTORIES_MAX;
      const series = before?.series ?? (mayHave ? new Series() : undefined);
      if (series !== undefined) {
        histories++;
        this.#push(series, delta, { ...reading, at, seconds });
      }
      known.set(reading.name, { reading, counters, series });
    }
    this.#known = known;
    let [queued, oldestMs, open] = [0, 0, 0];
    for (const reading of readings) {
      queued += reading.queued;
      open += reading.open;
      oldestMs = Math.max(oldestMs, reading.oldestMs);
    }
    this.#push(this.#all, sum, { queued, oldestMs, open, slots, at, seconds });
  }

  /** The models that can be looked at, and how many more there are. */
  models(): { readonly shown: readonly ModelReading[]; readonly more: number } {
    const all = [...this.#known.values()].filter(({ reading }) => reading.name !== this.#otherModels);
    const shown = all.filter(({ series }) => series !== undefined).map(({ reading }) => reading);
    return { shown, more: all.length - shown.length };
  }

  /** The line of a model, or of all. Undefined where there is none. */
  line(model: string | undefined): Pick<Series, "ring" | "latest" | "totals"> | undefined {
    return model === undefined ? this.#all : this.#known.get(model)?.series;
  }

  #countersOf(reading: ModelReading): Float64Array {
    const counters = new Float64Array(AT.length + this.#bounds.length + 1);
    const { outcomes, stageMs, answered, batchRows, busyS, residence } = reading;
    for (let i = 0; i < OUTCOMES.length; i++) counters[AT.outcomes + i] = outcomes[i]!;
    for (let i = 0; i < BROKER_STAGES.length; i++) counters[AT.stageMs + i] = stageMs[i]!;
    counters[AT.answered] = answered;
    for (let i = 0; i < batchRows.counts.length; i++)
      counters[AT.batches + batchClassOf(batchRows.bounds[i] ?? Infinity)]! += batchRows.counts[i]!;
    counters[AT.batchCount] = batchRows.count;
    counters[AT.rows] = batchRows.sum;
    counters[AT.busyS] = busyS;
    for (let i = 0; i <= this.#bounds.length; i++) counters[AT.length + i] = residence[i] ?? 0;
    return counters;
  }

  #push(series: Series, delta: Float64Array, now: Gauges): void {
    const { seconds } = now;
    const mean = (sum: number, count: number): number => (count > 0 ? sum / count : Number.NaN);
    const rates = (from: number, count: number): number[] => [...delta.subarray(from, from + count)];
    const residence = delta.subarray(AT.length);
    const sample = [
      ...rates(AT.outcomes, OUTCOMES.length).map((count) => count / seconds),
      ...Object.values(QUANTILES).map((q) => histogramQuantile(this.#bounds, residence, q)),
      ...rates(AT.stageMs, BROKER_STAGES.length).map((sumMs) => mean(sumMs, delta[AT.answered]!)),
      now.queued,
      now.oldestMs,
      now.open,
      ...rates(AT.batches, BATCH_CLASSES.length).map((count) => count / seconds),
      mean(delta[AT.rows]!, delta[AT.batchCount]!),
      delta[AT.busyS]! / seconds,
      now.slots,
    ];
    series.latest = [now.at, ...sample.map((value) => Number(value.toPrecision(DIGITS)))];
    series.ring.push(series.latest);
    for (let i = 0; i < OUTCOMES.length; i++) series.totals[i]! += delta[AT.outcomes + i]!;
  }
}

type Gauges = {
  readonly at: number;
  readonly seconds: number;
  readonly queued: number;
  readonly oldestMs: number;
  readonly open: number;
  readonly slots: number;
};

function batchClassOf(rows: number): number {
  return BATCH_CLASSES.findIndex(({ rowsMax }) => rows <= rowsMax);
}

/** What was added since; a counter that has gone back began anew. */
function difference(counters: Float64Array, before: Float64Array | undefined): Float64Array {
  return counters.map((value, i) => (value >= (before?.[i] ?? 0) ? value - (before?.[i] ?? 0) : value));
}

/** Where each group of counters begins, and how many there are in all. */
function layout<K extends string>(sizes: Readonly<Record<K, number>>): Readonly<Record<K | "length", number>> {
  let length = 0;
  const at: Record<string, number> = {};
  for (const [name, size] of Object.entries<number>(sizes)) {
    at[name] = length;
    length += size;
  }
  return { ...at, length } as Record<K | "length", number>;
}

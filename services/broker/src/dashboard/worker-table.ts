import { SIZE_CLASSES, type WorkTally } from "../models/work-tally.ts";

/** How long a worker that is gone stays in the table, in ms, and how many of them do. */
const GONE_KEPT_MS = 300_000;
const GONE_MAX = 50;

/** Seconds over which throughput is told: one alone jumps about. */
const RATE_SAMPLES = 5;

/** Rows that are told at most; those that are gone come last. */
const ROWS_MAX = 200;

/** A worker's session as it stands. `id` tells this connection of the worker from any other. */
export type WorkerReading = {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly slots: number;
  /** Batches that it would take now, and those that it has. */
  readonly credits: number;
  readonly out: number;
  /** How long the batches that run now have done so, in ms, summed over its slots. */
  readonly runningMs: number;
  /** What it has run, of one version after another; and the models that it serves now. */
  readonly work: readonly { readonly model: string; readonly tally: WorkTally }[];
  readonly serves: ReadonlySet<string>;
};

/** A row of the table, as the page gets it. */
export type WorkerRow = {
  readonly id: string;
  readonly name: string;
  /** `active`, `suspect`, `draining`; when gone: `stopped` (it said so) or `lost`. */
  readonly state: string;
  /** When this state began, and when the worker connected; in seconds of the wall clock. */
  readonly since: number;
  readonly connected: number;
  readonly slots: number;
  readonly credits: number;
  readonly out: number;
  readonly models: number;
  /** Over the last 5 s, of all models: per second, and the share of its slots that ran. */
  readonly batchesPerS: number;
  readonly rowsPerS: number;
  readonly busy: number;
  /** Compute time of a batch by its size: [largest rows of the class, ms]. */
  readonly batchMs: readonly (readonly [number, number])[];
};

type Work = { readonly atMs: number; readonly batches: number; readonly rows: number; readonly computeMs: number };

type Seen = {
  reading: WorkerReading;
  state: string;
  sinceWallMs: number;
  readonly connectedWallMs: number;
  goneAtMs: number;
  isLeaving: boolean;
  readonly works: Work[];
};

/** The workers that are there, and those that were a while ago. Pure: readings and time come from outside. */
export class WorkerTable {
  readonly #seen = new Map<string, Seen>();

  /** Takes the sessions that there are. Whoever is missing is gone. */
  update(readings: readonly WorkerReading[], { nowMs, wallMs }: { nowMs: number; wallMs: number }): void {
    const here = new Set<string>();
    for (const reading of readings) {
      here.add(reading.id);
      const seen = this.#seen.get(reading.id) ?? startOf(reading, wallMs);
      if (seen.state !== reading.state) Object.assign(seen, { state: reading.state, sinceWallMs: wallMs });
      seen.reading = reading;
      seen.works.push(workOf(reading, nowMs));
      if (seen.works.length > RATE_SAMPLES + 1) seen.works.shift();
      this.#seen.set(reading.id, seen);
    }
    for (const [id, seen] of this.#seen) {
      if (here.has(id)) continue;
      if (seen.goneAtMs === Infinity) {
        const state = seen.isLeaving ? "stopped" : "lost";
        Object.assign(seen, { state, sinceWallMs: wallMs, goneAtMs: nowMs, works: [] });
      } else if (nowMs - seen.goneAtMs > GONE_KEPT_MS) this.#seen.delete(id);
    }
    this.#dropOldest();
  }

  /** A worker has said that it takes nothing new; it may be gone before anybody looks again. */
  drains(name: string): void {
    for (const seen of this.#seen.values()) if (seen.reading.name === name) seen.isLeaving = true;
  }

  /** The rows of a model's workers, or of all. Those that are there first, by name. */
  rows(model: string | undefined): { readonly shown: readonly WorkerRow[]; readonly more: number } {
    const wanted = [...this.#seen.values()].filter(
      ({ reading: { serves, work } }) =>
        model === undefined || serves.has(model) || work.some((one) => one.model === model),
    );
    wanted.sort((a, b) => orderOf(a) - orderOf(b) || a.reading.name.localeCompare(b.reading.name, "en", NUMERIC));
    return {
      shown: wanted.slice(0, ROWS_MAX).map((seen) => rowOf(seen, model)),
      more: Math.max(0, wanted.length - ROWS_MAX),
    };
  }

  #dropOldest(): void {
    const gone = [...this.#seen].filter(([, seen]) => seen.goneAtMs < Infinity);
    gone.sort(([, a], [, b]) => b.goneAtMs - a.goneAtMs);
    for (const [id] of gone.slice(GONE_MAX)) this.#seen.delete(id);
  }
}

const NUMERIC: Intl.CollatorOptions = { numeric: true };

function startOf(reading: WorkerReading, wallMs: number): Seen {
  const { state } = reading;
  const times = { sinceWallMs: wallMs, connectedWallMs: wallMs, goneAtMs: Infinity };
  return { reading, state, ...times, isLeaving: false, works: [] };
}

/** Those that are gone come last, the newest of them first. */
function orderOf({ goneAtMs, sinceWallMs }: Seen): number {
  return goneAtMs === Infinity ? -Infinity : -sinceWallMs;
}

/** Runs count as they go on: they may last longer than what the table looks back. */
function workOf({ work, runningMs }: WorkerReading, atMs: number): Work {
  let [batches, rows, computeMs] = [0, 0, runningMs];
  for (const { tally } of work) {
    batches += tally.batches;
    rows += tally.rows;
    computeMs += tally.computeMs;
  }
  return { atMs, batches, rows, computeMs };
}

function rowOf({ reading, state, sinceWallMs, connectedWallMs, works }: Seen, model: string | undefined): WorkerRow {
  const { id, name, slots, credits, out, serves, work } = reading;
  const [first, last] = [works[0], works.at(-1)];
  const seconds = first === undefined || last === undefined ? 0 : (last.atMs - first.atMs) / 1000;
  const perS = (of: "batches" | "rows" | "computeMs"): number =>
    seconds === 0 ? 0 : round(Math.max(0, last![of] - first![of]) / seconds);
  const isGone = works.length === 0;
  return {
    id,
    name,
    state,
    since: Math.round(sinceWallMs / 1000),
    connected: Math.round(connectedWallMs / 1000),
    slots,
    credits: isGone ? 0 : credits,
    out: isGone ? 0 : out,
    models: serves.size,
    batchesPerS: perS("batches"),
    rowsPerS: perS("rows"),
    busy: slots === 0 ? 0 : round(perS("computeMs") / 1000 / slots),
    batchMs: batchTimesOf(work.filter((one) => model === undefined || one.model === model).map(({ tally }) => tally)),
  };
}

/** The mean over versions of what a batch of each class takes, each weighing as many batches as it had. */
function batchTimesOf(tallies: readonly WorkTally[]): (readonly [number, number])[] {
  const times: (readonly [number, number])[] = [];
  for (let at = 0; at < SIZE_CLASSES; at++) {
    let [count, sumMs] = [0, 0];
    for (const tally of tallies) {
      count += tally.sizes[at]!;
      sumMs += tally.sizes[at]! * tally.sizeMs[at]!;
    }
    if (count > 0) times.push([2 ** at, round(sumMs / count)]);
  }
  return times;
}

function round(value: number): number {
  return Number(value.toPrecision(3));
}

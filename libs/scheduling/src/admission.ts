import type { Backlog, Classed } from "./backlog.ts";
import type { BatchView } from "./batch-plan.ts";

/** Slots that are about as fast. */
export type SlotGroup = {
  /** How many there are; one that is faster than `predict` says counts for more than one. More than 0. */
  readonly slots: number;
  /** In how many ms the first of them can start something; 0 or more. */
  readonly freeInMs: number;
  readonly predict: BatchView["predict"];
};

/** What a new request would find. */
export type Backdrop = {
  readonly rows: number;
  /** The largest batch. */
  readonly rowsMax: number;
  /** Slots that serve the queue, the fastest first; at least one group. */
  readonly groups: readonly SlotGroup[];
};

/** What leaves before it in batches of so many rows: a batch every so often; and its own batch, which is as large. */
type Pace = { readonly rows: number; readonly everyMs: number; readonly ownMs: number };

/** Slots that share the work, and how they do it. */
type Crew = {
  readonly freeInMs: number;
  readonly aloneMs: number;
  readonly predict: BatchView["predict"];
  readonly paces: readonly Pace[];
};

/**
 * In how many ms a new request will be answered, by the rows that wait and leave before it, as their deadlines are earlier; undefined where
 * nothing is known. They leave in batches of k rows, a batch every 1 / Σ (1 / L(k)) over the slots, which is L(k)/N where they are alike,
 * and the request with the rest of them, for the k (a power of two, or the largest batch) that is best for it. What waits counts with
 * its median time, the request's own batch with the upper quantile, unless it is alone. Slots that differ are looked at in
 * growing crews, the fastest group first: each could serve it without the slower ones, and its own batch may run on the slowest of its
 * crew; the best of them counts. Never falls when more waits, when slots go, or when they are free later, so that admission is
 * monotone. O(groups² · log rowsMax) predictions, and O(groups · log rowsMax) for each number of rows that is asked for.
 */
export function finishBehind({ rows, rowsMax, groups }: Backdrop): ((aheadRows: number) => number) | undefined {
  const crews: Crew[] = [];
  for (let size = 1; size <= groups.length; size++) {
    const crew = crewOf(groups.slice(0, size), { rows, rowsMax });
    if (crew !== undefined) crews.push(crew);
  }
  const [only] = crews;
  if (only === undefined) return undefined;
  if (crews.length === 1) return (aheadRows) => finishWith(only, rows, aheadRows);
  return (aheadRows) => Math.min(...crews.map((crew) => finishWith(crew, rows, aheadRows)));
}

/** Undefined where nothing is known of its slowest slots. */
function crewOf(groups: readonly SlotGroup[], { rows, rowsMax }: Pick<Backdrop, "rows" | "rowsMax">): Crew | undefined {
  const { predict } = groups.at(-1)!;
  const alone = predict(rows);
  if (alone === undefined) return undefined;
  const paces: Pace[] = [];
  for (let k = 1; ; k = Math.min(2 * k, rowsMax)) {
    let batchesPerMs = 0;
    for (const group of groups) batchesPerMs += group.slots / (group.predict(k)?.q50Ms ?? Infinity);
    paces.push({ rows: k, everyMs: 1 / batchesPerMs, ownMs: predict(Math.max(rows, k))!.q95Ms });
    if (k >= rowsMax) break;
  }
  return { freeInMs: Math.min(...groups.map(({ freeInMs }) => freeInMs)), aloneMs: alone.q50Ms, predict, paces };
}

function finishWith({ freeInMs, aloneMs, predict, paces }: Crew, rows: number, aheadRows: number): number {
  if (aheadRows === 0) return freeInMs + aloneMs;
  let bestMs = Infinity;
  for (const { rows: k, everyMs, ownMs } of paces) {
    if (k > aheadRows) {
      // All of them share its batch: larger ones would be no better.
      bestMs = Math.min(bestMs, predict(Math.max(rows, Math.min(k, aheadRows + rows)))!.q95Ms);
      break;
    }
    bestMs = Math.min(bestMs, Math.floor(aheadRows / k) * everyMs + ownMs);
  }
  return freeInMs + bestMs;
}

/** A new request that would be late, or make another late that stands at `untilMs`. */
export type Lateness = {
  readonly why: "late" | "would_delay";
  readonly byMs: number;
  readonly untilMs: number;
  /** What leaves before it, and by how much it would be late itself behind so many rows, in ms. */
  readonly aheadRows: number;
  readonly lateBehind: (aheadRows: number) => number;
};

/** What decides whether a new request is let in. All times on one clock, in ms. */
export type DoorView<T extends Classed> = Backdrop & {
  readonly nowMs: number;
  readonly budgetMs: number;
  readonly classIndex: number;
  /** Its place in the queue. */
  readonly deadlineMs: number;
  readonly backlog: Backlog<T>;
  /** What is set aside of a budget (`LateMargin`). */
  readonly marginOf: (budgetMs: number) => number;
};

/**
 * The door's rule: whether a new request would miss its budget behind what leaves before it, or make one of its class miss its own that
 * waits behind it. Undefined if neither, or if nobody can tell.
 */
export function latenessOf<T extends Classed>(view: DoorView<T>): Lateness | undefined {
  const { rows: ownRows, nowMs, budgetMs, classIndex, deadlineMs, backlog, marginOf } = view;
  const finishMs = finishBehind(view);
  if (finishMs === undefined) return undefined;
  const lateBehind = (aheadRows: number): number => finishMs(aheadRows) + marginOf(budgetMs) - budgetMs;
  const aheadRows = backlog.rowsBefore(classIndex, deadlineMs);
  const byMs = lateBehind(aheadRows);
  if (byMs > 0) return { why: "late", byMs, untilMs: deadlineMs, aheadRows, lateBehind };
  const { order } = backlog.ofClass(classIndex);
  let delayedByMs = 0;
  const delayed = order?.firstMisfit(deadlineMs, (rows, dueMs) => {
    const leftMs = dueMs - nowMs;
    const before = rows + ownRows - 1;
    delayedByMs = finishMs(before + backlog.urgentRowsBefore(classIndex, before)) + marginOf(leftMs) - leftMs;
    return delayedByMs <= 0;
  });
  if (delayed === undefined) return undefined;
  return { why: "would_delay", byMs: delayedByMs, untilMs: delayed.deadlineMs, aheadRows, lateBehind };
}

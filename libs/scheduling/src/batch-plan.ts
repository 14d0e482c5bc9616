import type { Line, Prediction } from "./curve.ts";
import { TIMER_GRAIN_MS } from "./late-binding.ts";

/** Why a batch left: it was as large as it may be; to keep the pace; because of a deadline; because nothing was gained by waiting. */
export type BatchReason = "full" | "paced" | "deadline" | "idle";

/** What the next batch of a queue is decided by. All times on one clock, in ms. */
export type BatchView = {
  readonly nowMs: number;
  /** When the batch would start if it left now. */
  readonly startMs: number;
  /** Of the most urgent request: when it has to be done. */
  readonly headDeadlineMs: number;
  /** When it should be done, by its model's latency target; not later than it has to be. */
  readonly headAimMs: number;
  /** So long before its deadline, and before it should be done, a batch has to end by what is predicted, in ms (`LateMargin`). */
  readonly marginMs: number;
  /** When the most urgent request came. */
  readonly headSinceMs: number;
  /** Rows of the most urgent request: a batch has these at least. */
  readonly headRows: number;
  /** Rows of the head's class that wait and could share the batch, the head's included. */
  readonly waitingRows: number;
  /** Rows of other classes that could fill it up. */
  readonly fillRows: number;
  /** The largest batch. */
  readonly rowsMax: number;
  /** Batch time by rows; undefined while nothing was measured. */
  readonly predict: (rows: number) => Prediction | undefined;
  readonly line: Line | undefined;
  /** Rows that arrive, in rows/ms. */
  readonly rate: number;
  /** Slots that serve the queue. */
  readonly slots: number;
  /** When a batch of the queue last left. */
  readonly lastDispatchMs: number;
  /** The longest that a request is held back for a larger batch. */
  readonly holdMaxMs: number;
};

export type BatchPlan =
  /** A batch of at most `rows` leaves. */
  | { readonly action: "send"; readonly rows: number; readonly reason: BatchReason }
  /** More are waited for: ask again then, and at each arrival. */
  | { readonly action: "hold"; readonly untilMs: number }
  /** The most urgent request cannot be served without making all others late: it is given up, and the next one asked for. */
  | { readonly action: "shed" };

/** What kept a batch from being larger: nothing more waited; the largest batch of the model; the deadline of its most urgent request. */
export type SizeBound = "waiting" | "model" | "deadline";

/** What ends a hold: a slot's turn; the last moment at which one row more would be in time; the longest hold that the model allows. */
export type HoldEnd = "pace" | "last_safe" | "max_hold";

/** Why a request is given up: it would be late even alone; or in time only in a batch below the sustainable one. */
export type ShedReason = "hopeless" | "small_batch";

/** A plan and its grounds, for people. `sustainableRows`: n*, NaN while nothing was measured. */
export type ExplainedPlan =
  | (BatchPlan & { readonly action: "send"; readonly bound: SizeBound; readonly sustainableRows: number })
  | (BatchPlan & { readonly action: "hold"; readonly end: HoldEnd; readonly sustainableRows: number })
  | (BatchPlan & { readonly action: "shed"; readonly why: ShedReason; readonly slackMs: number });

/** The planned rate is this times the measured one: too low an estimate holds too short and fills too little, too high a one costs little. */
const RATE_MARGIN = 1.3;

/** After this long without a batch a request that seems hopeless is tried, in ms. */
export const PROBE_AFTER_MS = 1_000;

/** A hold ends this much before the last safe moment, in ms: timers are that coarse, and decisions take time. */
const SAFETY_MS = TIMER_GRAIN_MS;

/**
 * The batch size n* at which slots that are always busy keep up with the arrivals: n* = λa / (N − λb), between 1 and `rowsMax`.
 * Up to it waiting for one more request costs less than it saves: with q that wait it costs q/λ in all, and saves the one that would
 * miss the batch L(q)/N until the next. That thresholds are best for the mean: Deb and Serfozo, Optimal control of batch service
 * queues, Advances in Applied Probability 5 (1973).
 */
export function sustainableRows(
  line: Line,
  load: { readonly rate: number; readonly slots: number; readonly rowsMax: number },
): number {
  const idle = load.slots - load.rate * line.rowMs;
  if (idle <= 0) return load.rowsMax;
  return Math.min(load.rowsMax, Math.max(1, (load.rate * line.fixedMs) / idle));
}

/**
 * The largest batch with which a request that has just missed one is still in time: L(n)·(1 + 1/N) ≤ its whole time, as the next of N
 * slots that take turns is free after L(n)/N (as in Symphony, https://arxiv.org/abs/2308.07470). At least 1.
 */
export function targetRows(
  view: Pick<BatchView, "headAimMs" | "headSinceMs" | "marginMs" | "slots" | "rowsMax" | "predict">,
): number {
  const { headAimMs, headSinceMs, marginMs, slots, rowsMax, predict } = view;
  const dueMs = (headAimMs - headSinceMs - marginMs) / (1 + 1 / slots);
  return Math.max(1, feasibleRows({ startMs: 0, dueMs, rowsMax, predict }));
}

/** The most rows whose batch, started then, is done by the deadline with 95 % certainty; 0 if none. O(log rowsMax) predictions. */
export function feasibleRows(
  view: Pick<BatchView, "startMs" | "rowsMax" | "predict"> & { readonly dueMs: number },
): number {
  const { startMs, dueMs, rowsMax, predict } = view;
  const isFeasible = (rows: number): boolean => startMs + (predict(rows)?.q95Ms ?? 0) <= dueMs;
  if (isFeasible(rowsMax)) return rowsMax;
  let low = 0;
  let high = rowsMax;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (isFeasible(middle)) low = middle;
    else high = middle;
  }
  return low;
}

/**
 * Decides about the next batch of a queue whose slot is free, or is about to be. It leaves with as many rows as meet the aim of the
 * most urgent request, or its deadline where the aim is missed already. Where batching pays (the fixed cost is more than
 * a row's) and the queue is shorter than the sustainable batch, it is held: at most L(n*)/N after the last batch left, so that the
 * slots take turns, never past the last moment at which one row more would still be in time, and never longer than
 * `holdMaxMs`. Where the most urgent request would force a batch below the sustainable one it is shed: in overload the size of
 * the batches is what is worth keeping.
 */
export function planBatch(view: BatchView): ExplainedPlan {
  const { nowMs, startMs, headRows, waitingRows, fillRows, rowsMax, predict, line, slots } = view;
  const latestMs = view.headDeadlineMs - view.marginMs;
  const aimMs = view.headAimMs - view.marginMs;
  const wanted = Math.min(waitingRows + fillRows, rowsMax);
  if (predict(1) === undefined) {
    const isFull = wanted === rowsMax;
    const grounds = { bound: isFull ? "model" : "waiting", sustainableRows: NaN } as const;
    return { action: "send", rows: wanted, reason: isFull ? "full" : "idle", ...grounds };
  }
  const target = targetRows(view);
  const sustainable = (rate: number): number =>
    line === undefined ? 1 : sustainableRows(line, { rate, slots, rowsMax: target });
  const sustainableNow = sustainable(view.rate);
  // What has to be possible for the head to be worth its place; no less urgent class can take it away.
  const kept = Math.max(headRows, Math.min(Math.floor(sustainableNow), waitingRows));
  const send = (rows: number, reason: BatchReason): ExplainedPlan => {
    const bound = rows === rowsMax ? "model" : rows < wanted ? "deadline" : "waiting";
    return { action: "send", rows, reason, bound, sustainableRows: sustainableNow };
  };
  const finishMs = startMs + predict(kept)!.q95Ms;
  if (finishMs > latestMs) {
    if (isWorthTrying(view)) return send(headRows, "deadline");
    const isHopeless = startMs + predict(headRows)!.q95Ms > latestMs;
    return { action: "shed", why: isHopeless ? "hopeless" : "small_batch", slackMs: latestMs - finishMs };
  }
  const dueMs = startMs + predict(headRows)!.q95Ms <= aimMs ? aimMs : latestMs;
  const rows = Math.min(wanted, feasibleRows({ startMs, dueMs, rowsMax, predict }));
  if (rows === rowsMax) return send(rows, "full");
  if (rows < wanted) return send(rows, "deadline");
  const planned = sustainable(view.rate * RATE_MARGIN);
  const pays = line !== undefined && line.fixedMs > line.rowMs;
  if (!pays || rows >= planned) return send(rows, rows > 1 && pays ? "paced" : "idle");
  const lastSafeMs = dueMs - predict(rows + 1)!.q95Ms - SAFETY_MS - (startMs - nowMs);
  const paceMs = view.lastDispatchMs + predict(Math.round(planned))!.q50Ms / slots;
  const untilMs = Math.min(lastSafeMs, paceMs, view.headSinceMs + view.holdMaxMs);
  if (nowMs < untilMs) {
    const end = untilMs === paceMs ? "pace" : untilMs === lastSafeMs ? "last_safe" : "max_hold";
    return { action: "hold", untilMs, end, sustainableRows: sustainableNow };
  }
  if (paceMs < view.headSinceMs) return send(rows, "idle");
  return send(rows, untilMs === lastSafeMs ? "deadline" : "paced");
}

/**
 * Whether a request that is likely to be late runs all the same, where nobody else wants the place: if it is in time as often as not,
 * or if nothing has run for a while, because only runs can tell that the prediction is wrong.
 */
function isWorthTrying(view: BatchView): boolean {
  const { nowMs, startMs, headRows, headDeadlineMs, waitingRows, fillRows, predict } = view;
  if (waitingRows + fillRows > headRows) return false;
  return startMs + predict(headRows)!.q50Ms <= headDeadlineMs || nowMs - view.lastDispatchMs > PROBE_AFTER_MS;
}

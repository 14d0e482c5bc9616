import { classOf, type ErrorCode, rowsOfRun, type SubmitItem } from "@millrace/protocol";
import { entriesToYield, type Lateness, latenessOf, PROBE_AFTER_MS } from "@millrace/scheduling";
import type { ModelVersion } from "../models/model-version.ts";
import { heldBytesOf, isLooseFor, type Request } from "./request.ts";
import { slotGroups } from "./slot-groups.ts";

export type AdmissionOptions = {
  /** Rows that may wait for one model version. */
  readonly queueRowsMax: number;
  /** Bytes of all requests that have not ended: their payloads and what else of them is passed on. */
  readonly queueBytesMax: number;
  /** Budgets longer than this need not bind, in ms: see `isLooseFor`; default Infinity. */
  readonly looseBudgetMs?: number;
};

/**
 * Why a request is not taken, in a word. `late`: behind what leaves before it. `would_delay`: it would be in time, but make one late that
 * was let in before it and is not less urgent.
 */
export type RefusalReason =
  | "unknown_route"
  | "draining"
  | "no_worker"
  | "too_many_rows"
  | "rows_full"
  | "bytes_full"
  | "late"
  | "would_delay";

/** Why a request is refused; without a better guess it may be tried again after a second. `lateByMs`: where that is why. */
export type Refusal = {
  readonly code: ErrorCode;
  readonly text: string;
  readonly why: RefusalReason;
  readonly retryAfterMs?: number;
  readonly lateByMs?: number;
};

/** Why a request that waits gives its place to a new one: its class is less urgent, or its tenant is over its share. */
export type DisplacementReason = "less_urgent" | "over_share";

/** A new request is let in, in the place of these. */
export type Displacement = { readonly victims: readonly Request[]; readonly why: DisplacementReason };

export const UNKNOWN_ROUTE: Refusal = {
  code: "model_not_found",
  text: "the broker knows no such route",
  why: "unknown_route",
};

const UNREACHABLE = "the budget cannot be met under the present load";

/**
 * The broker's door: what it holds, and who is let in. Every request that waits should be served in time, or work is done for nobody: so
 * nobody is let in who would be late, or would make one late that was let in and is of the same class. Where there is no room for
 * a new request otherwise, it takes the place of worse ones: of less urgent classes where a bound is reached (they leave
 * after it and are not what makes it late), or else of the tenant of its class that has had most by its weight, if that is more
 * than its own tenant has had with it. For one tenant it is monotone: a later deadline, one more worker of the same kind or less
 * that waits never turns a yes into a no. Pure: no clock, no I/O. O(1) while no deadline is near and no bound is reached.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #looseBudgetMs: number;
  #closed: Refusal | undefined;
  #heldBytes = 0;
  #open = 0;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#looseBudgetMs = options.looseBudgetMs ?? Infinity;
  }

  /** Requests that have not ended. */
  get open(): number {
    return this.#open;
  }

  /** Refuses every new request from now on. */
  close(text: string): void {
    this.#closed = { code: "draining", text, why: "draining" };
  }

  /** For how long a request that is let in is loose, in ms; undefined: its budget binds. */
  looseFor(model: ModelVersion, item: SubmitItem): number | undefined {
    return isLooseFor(model, item, this.#looseBudgetMs) ? this.#looseBudgetMs : undefined;
  }

  took(item: SubmitItem): void {
    this.#open++;
    this.#heldBytes += heldBytesOf(item);
  }

  ended(item: SubmitItem): void {
    this.#open--;
    this.#heldBytes -= heldBytesOf(item);
  }

  /** Why a request cannot be taken, or who has to go for it; undefined: it can be taken. */
  judge(model: ModelVersion | undefined, item: SubmitItem, nowMs: number): Refusal | Displacement | undefined {
    if (this.#closed !== undefined) return this.#closed;
    if (model === undefined) return UNKNOWN_ROUTE;
    if (model.workers.size === 0) return { code: "unavailable", text: "no worker serves the model", why: "no_worker" };
    const rowsMax = rowsOfRun(model.description, item);
    if (item.rows < 1 || item.rows > rowsMax)
      return { code: "too_many_rows", text: `rows must be 1 to ${rowsMax}`, why: "too_many_rows" };
    const rows = model.queuedRows + item.rows - this.#options.queueRowsMax;
    const bytes = this.#heldBytes + heldBytesOf(item) - this.#options.queueBytesMax;
    const lateness = this.#latenessOf(model, item, nowMs);
    if (rows <= 0 && bytes <= 0)
      return lateness === undefined ? undefined : placeInTime(model, item, { lateness, room: NO_ROOM_WANTED });
    // Who would be late has to take a place before its own; these count for the bound, too.
    const displacement =
      lateness === undefined
        ? (placeOfLessUrgent(model, item, { rows, bytes }) ??
          placeOfOverShare(model, item, { rows, bytes, untilMs: Infinity }))
        : placeInTime(model, item, { lateness, room: { rows, bytes } });
    if (displacement !== undefined && "victims" in displacement) return displacement;
    return {
      code: "queue_full",
      text: "the broker's queue is full",
      why: rows > 0 ? "rows_full" : "bytes_full",
      retryAfterMs: model.drainTimeMs(),
    };
  }

  /**
   * Whether a new request would miss its budget behind what leaves before it, or make one of its class miss its own that waits behind it.
   * Undefined if neither, or if nobody can tell. Also undefined where the model has not run for a while, and does not now: without a run a
   * prediction that is wrong would stay so.
   */
  #latenessOf(model: ModelVersion, item: SubmitItem, nowMs: number): Lateness | undefined {
    const { backlog } = model;
    const budgetMs = item.budgetUs / 1000;
    if (budgetMs > model.longestWaitMs(backlog.rows)) return undefined;
    if (nowMs - model.lastDispatchMs > PROBE_AFTER_MS && !isOut(model)) return undefined;
    // Idle, and nothing waits: whether it is worth a try is the plan's to say.
    if (backlog.rows === 0 && hasIdleSlot(model)) return undefined;
    return latenessOf({
      rows: item.rows,
      rowsMax: rowsOfRun(model.description, item),
      groups: slotGroups(model, item.bucket, nowMs),
      nowMs,
      budgetMs,
      classIndex: classOf(item.priority),
      deadlineMs: nowMs + (this.looseFor(model, item) ?? budgetMs),
      backlog,
      marginOf: (ms) => model.lateMargin.of(ms),
    });
  }
}

/** What a request is told that was let in, and is given up after all. */
export function shedding(
  model: ModelVersion,
  text: string = UNREACHABLE,
): Pick<Refusal, "code" | "text" | "retryAfterMs"> {
  return { code: "shed", text, retryAfterMs: model.drainTimeMs() };
}

type Room = { readonly rows: number; readonly bytes: number };

const NO_ROOM_WANTED: Room = { rows: 0, bytes: 0 };

/** A place with which nobody is late: at least as many rows go, from before the first that would be late, so that the rest stand as before. */
function placeInTime(
  model: ModelVersion,
  item: SubmitItem,
  { lateness, room }: { readonly lateness: Lateness; readonly room: Room },
): Refusal | Displacement {
  const { why, byMs, untilMs, aheadRows, lateBehind } = lateness;
  const rows = Math.max(room.rows, item.rows);
  const place = placeOfOverShare(model, item, { rows, bytes: room.bytes, untilMs });
  if (place !== undefined) {
    const rowsLess = why === "late" ? place.victims.reduce((sum, victim) => sum + victim.rows, 0) : 0;
    if (lateBehind(aheadRows - rowsLess) <= 0) return place;
  }
  return { code: "shed", text: UNREACHABLE, why, retryAfterMs: Math.ceil(byMs), lateByMs: byMs };
}

/** The last that came of the tenant of its class that has had most, if that is more than its own would have had with it. */
function placeOfOverShare(
  model: ModelVersion,
  item: SubmitItem,
  wanted: Room & { readonly untilMs: number },
): Displacement | undefined {
  const shares = model.tenants[classOf(item.priority)]!;
  const account = shares.mostServed();
  if (account === undefined) return undefined;
  const keep = shares.with(shares.find(item.tenant), item.rows);
  const victims = account.taken < keep ? undefined : entriesToYield(account, { ...wanted, keep });
  return victims === undefined ? undefined : { victims, why: "over_share" };
}

/** Requests whose places one new request takes at most: what asks for more room finds none, and none is looked for. */
const VICTIMS_MAX = 256;

/** The least urgent class first, and in it the tenant that has had most. O(accounts · log accounts + 256). */
function placeOfLessUrgent(model: ModelVersion, item: SubmitItem, { rows, bytes }: Room): Displacement | undefined {
  const victims: Request[] = [];
  let [rowsLeft, bytesLeft] = [rows, bytes];
  for (let index = model.tenants.length - 1; index > classOf(item.priority); index--) {
    for (const account of model.tenants[index]!.waiting()) {
      for (let entry = account.newest; entry !== undefined; entry = entry.older) {
        if (victims.length === VICTIMS_MAX) return undefined;
        victims.push(entry);
        rowsLeft -= entry.rows;
        bytesLeft -= heldBytesOf(entry.item);
        if (rowsLeft <= 0 && bytesLeft <= 0) return { victims, why: "less_urgent" };
      }
    }
  }
  return undefined;
}

/** Whether a worker that takes something has a slot that has nothing. O(slots). */
function hasIdleSlot(model: ModelVersion): boolean {
  for (const worker of model.workers)
    if (worker.state === "active")
      for (const { batches } of model.slotsOf(worker)) if (batches.length === 0) return true;
  return false;
}

/** Whether a worker has a batch of the model. O(slots). */
function isOut(model: ModelVersion): boolean {
  for (const { slots } of model.workers)
    for (const { batches } of slots) for (const batch of batches) if (batch.model === model) return true;
  return false;
}

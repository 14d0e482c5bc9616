import {
  type Decision,
  DECISION_NUMBERS,
  DECISION_WORDS,
  type DecisionNumber,
  type DecisionWord,
  type ShownDecision,
} from "./decision-table.ts";

/** Decisions that are kept of a model version. */
export const DECISIONS_MAX = 1024;

/** Places at the beginning: most versions never need more. */
const PLACES_MIN = 64;

const WORDS = Object.keys(DECISION_WORDS) as DecisionWord[];
const NUMBERS = Object.keys(DECISION_NUMBERS) as DecisionNumber[];

/** Where each value of an entry is kept. */
const WORD = Object.fromEntries(WORDS.map((name, at) => [name, at])) as Record<DecisionWord, number>;
const NUMBER = Object.fromEntries(NUMBERS.map((name, at) => [name, at])) as Record<DecisionNumber, number>;

/** What is known of a batch when it leaves. Times in ms on the broker's clock; NaN: not known. */
export type Sent = Readonly<
  Record<
    | "nowMs"
    | "slot"
    | "batch"
    | "requests"
    | "rows"
    | "waitingRows"
    | "sustainableRows"
    | "slackMs"
    | "startMs"
    | "predictedMs",
    number
  > &
    Record<"why" | "bucket" | "bound" | "worker", string>
>;

export type Held = Readonly<
  Record<"nowMs" | "untilMs" | "waitingRows" | "sustainableRows" | "slackMs", number> & Record<"why" | "bucket", string>
>;

/** Requests that are not served. */
export type TurnedAway = Exclude<Decision, "sent" | "held">;

/**
 * The latest decisions about a model version, and why they were made. Decisions of one kind and reason between two batches are one
 * entry with a count, so that an overload of refusals does not wash the batches away. At most 1,024 entries of 21 values, some
 * 200 KB; a few of them until they are needed. Recording keeps no object and is O(kinds and reasons since the last batch).
 */
export class DecisionLog {
  #places = PLACES_MIN;
  #words: string[] = [];
  #numbers = new Float64Array(PLACES_MIN * NUMBERS.length);
  /** Entries so far: entry n has the place n modulo the places. */
  #entries = 0;
  /** The entry of the last batch. */
  #lastSent = -1;

  /** Notes a batch that leaves; returns the number by which `ended` knows it. */
  sent(facts: Sent): number {
    const entry = this.#open("sent", facts.why, facts.nowMs);
    this.#lastSent = entry;
    const { bucket, bound, worker } = facts;
    this.#setWord(entry, "bucket", bucket);
    this.#setWord(entry, "bound", bound);
    this.#setWord(entry, "worker", worker);
    this.#set(entry, "slot", facts.slot);
    this.#set(entry, "batch", facts.batch);
    this.#set(entry, "requests", facts.requests);
    this.#set(entry, "rows", facts.rows);
    this.#set(entry, "waiting_rows", facts.waitingRows);
    this.#set(entry, "sustainable_rows", facts.sustainableRows);
    this.#set(entry, "slack_ms", facts.slackMs);
    this.#set(entry, "start_ms", facts.startMs - facts.nowMs);
    this.#set(entry, "predicted_ms", facts.predictedMs);
    return entry;
  }

  /** Notes how a batch ended, if its entry is still kept; `run`, if it was answered. */
  ended(entry: number, how: string, run?: { readonly computeMs: number; readonly roundTripMs: number }): void {
    if (!this.#has(entry)) return;
    this.#setWord(entry, "ended", how);
    if (run === undefined) return;
    this.#set(entry, "compute_ms", run.computeMs);
    const predictedMs = this.#get(entry, "start_ms") + this.#get(entry, "predicted_ms");
    this.#set(entry, "late_ms", run.roundTripMs - predictedMs);
  }

  /** Notes that a batch is held back; the last of several holds before a batch counts. */
  held(facts: Held): void {
    const entry = this.#entryOf("held", facts.why, facts.nowMs);
    this.#setWord(entry, "bucket", facts.bucket);
    this.#set(entry, "hold_ms", facts.untilMs - facts.nowMs);
    this.#set(entry, "waiting_rows", facts.waitingRows);
    this.#set(entry, "sustainable_rows", facts.sustainableRows);
    this.#set(entry, "slack_ms", facts.slackMs);
  }

  /** Notes a request that is not served; returns the number by which `slackWas` knows it. */
  turnedAway(kind: TurnedAway, why: string, nowMs: number): number {
    return this.#entryOf(kind, why, nowMs);
  }

  /** Notes by how much a request that was turned away would have been in time; of several the worst counts. */
  slackWas(entry: number, slackMs: number): void {
    const worst = this.#get(entry, "slack_ms");
    if (Number.isNaN(worst) || slackMs < worst) this.#set(entry, "slack_ms", slackMs);
  }

  /** The latest decisions, the newest first. */
  latest(limit: number, nowMs: number): ShownDecision[] {
    const shown: ShownDecision[] = [];
    for (let entry = this.#entries - 1; entry >= 0 && this.#has(entry) && shown.length < limit; entry--) {
      const at = this.#at(entry);
      const one: Record<string, string | number> = {};
      for (const [i, name] of WORDS.entries()) {
        const word = this.#words[(entry % this.#places) * WORDS.length + i]!;
        if (word !== "") one[name] = word;
      }
      for (const [i, name] of NUMBERS.entries()) {
        const value = this.#numbers[at + i]!;
        const isTime = name === "ago_ms" || name === "first_ago_ms";
        if (Number.isFinite(value)) one[name] = round(isTime ? nowMs - value : value);
      }
      shown.push(one);
    }
    return shown;
  }

  /** The entry of the same kind and reason since the last batch, or a new one. */
  #entryOf(kind: Decision, why: string, nowMs: number): number {
    const { decision, why: reason } = WORD;
    for (let entry = this.#entries - 1; entry > this.#lastSent && this.#has(entry); entry--) {
      const at = (entry % this.#places) * WORDS.length;
      if (this.#words[at + decision] !== kind || this.#words[at + reason] !== why) continue;
      this.#set(entry, "count", this.#get(entry, "count") + 1);
      this.#set(entry, "ago_ms", nowMs);
      return entry;
    }
    const entry = this.#open(kind, why, nowMs);
    this.#set(entry, "first_ago_ms", nowMs);
    return entry;
  }

  #open(kind: Decision, why: string, nowMs: number): number {
    if (this.#entries === this.#places && this.#places < DECISIONS_MAX) this.#grow();
    const entry = this.#entries++;
    const at = this.#at(entry);
    this.#numbers.fill(Number.NaN, at, at + NUMBERS.length);
    for (const word of WORDS) this.#setWord(entry, word, "");
    this.#setWord(entry, "decision", kind);
    this.#setWord(entry, "why", why);
    this.#set(entry, "ago_ms", nowMs);
    this.#set(entry, "count", 1);
    return entry;
  }

  /** Twice as many places; nothing has been overwritten yet, so that every entry stays where it is. */
  #grow(): void {
    this.#places *= 2;
    const numbers = new Float64Array(this.#places * NUMBERS.length);
    numbers.set(this.#numbers);
    this.#numbers = numbers;
  }

  #has(entry: number): boolean {
    return entry >= 0 && entry >= this.#entries - this.#places;
  }

  #at(entry: number): number {
    return (entry % this.#places) * NUMBERS.length;
  }

  #get(entry: number, name: DecisionNumber): number {
    return this.#numbers[this.#at(entry) + NUMBER[name]]!;
  }

  #set(entry: number, name: DecisionNumber, value: number): void {
    this.#numbers[this.#at(entry) + NUMBER[name]] = value;
  }

  #setWord(entry: number, name: DecisionWord, value: string): void {
    this.#words[(entry % this.#places) * WORDS.length + WORD[name]] = value;
  }
}

/** Microseconds are all that a clock tells. */
function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

import { make } from "./dom.js";
import { duration, short } from "./format.js";

/** Entries that are shown. */
const SHOWN_MAX = 30;

/** @typedef {import("../../decisions/decision-table.ts").ShownDecision} Decision */

/** What each decision asks for attention. */
const LEVELS = /** @type {Readonly<Record<string, string>>} */ ({
  sent: "info",
  held: "info",
  shed: "warn",
  refused: "warn",
  expired: "bad",
});

/**
 * A decision as people read it.
 *
 * @param {Decision} one
 * @returns {{ level: string, what: string, detail: string }}
 */
export function told(one) {
  const { decision = "", why = "", count = 1, batch, rows, waiting_rows: waiting, worker, slot, ended } = one;
  const times = count > 1 ? ` × ${count}` : "";
  const level = ended === "lost" ? "bad" : (LEVELS[decision] ?? "info");
  const slack = one.slack_ms === undefined ? [] : [`slack ${duration(one.slack_ms)}`];
  if (batch === undefined) {
    const hold = one.hold_ms === undefined ? [] : [`for ${duration(one.hold_ms)}`, `${short(waiting)} rows wait`];
    return { level, what: `${decision}${times}: ${why}`, detail: [...hold, ...slack].join(", ") };
  }
  const run =
    one.compute_ms === undefined
      ? `predicted ${duration(one.predicted_ms)}`
      : `ran ${duration(one.compute_ms)}, predicted ${duration(one.predicted_ms)}`;
  const fate = ended === undefined ? ["out"] : ended === "answered" ? [] : [ended.replace("_", " ")];
  const size = waiting === undefined ? `${short(rows)} rows` : `${short(rows)} of ${short(waiting)} rows`;
  const bound = one.bound === undefined || one.bound === "waiting" ? [] : [`bound by ${one.bound}`];
  const parts = [size, ...bound, `to ${worker} slot ${slot}`, ...slack, run, ...fate];
  return { level, what: `${decision} ${batch}: ${why}`, detail: parts.join(", ") };
}

/** The latest decisions about the model that is looked at; asked for anew each second, one request at a time. */
export class DecisionList {
  #place;
  #isAsking = false;

  /** @param {HTMLElement} place */
  constructor(place) {
    this.#place = place;
  }

  /** @param {string | undefined} model undefined: none is chosen */
  async refresh(model) {
    if (model === undefined) return this.#say("Choose a model to see why its batches left when they did.");
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      const query = new URLSearchParams({ model, limit: String(SHOWN_MAX) });
      const response = await fetch(`decisions?${query}`);
      const { decisions = [] } = await response.json();
      if (decisions.length === 0) this.#say("Nothing has been decided yet.");
      else this.#show(decisions);
    } catch {
      // The stream tells that the broker is gone; what was known last stays.
    } finally {
      this.#isAsking = false;
    }
  }

  /** @param {readonly Decision[]} decisions */
  #show(decisions) {
    const items = decisions.map((one) => {
      const { level, what, detail } = told(one);
      const time = make("span", { class: "ago" }, `${duration(one.ago_ms)} ago`);
      return make(
        "li",
        { class: level },
        time,
        make("span", {}, make("b", {}, what), " ", make("span", { class: "detail" }, detail)),
      );
    });
    this.#place.replaceChildren(...items);
  }

  /** @param {string} text */
  #say(text) {
    this.#place.replaceChildren(make("li", { class: "none muted" }, text));
  }
}

import { make } from "./dom.js";
import { clock } from "./format.js";

/** Entries that are shown. */
const SHOWN_MAX = 200;

/** The log of events, the newest first. */
export class EventList {
  #place;

  /** @param {HTMLElement} place */
  constructor(place) {
    this.#place = place;
  }

  /**
   * Shows a log from its beginning.
   *
   * @param {readonly import("../event-log.ts").LogEntry[]} entries
   */
  reset(entries) {
    this.#place.replaceChildren();
    this.add(entries);
    if (entries.length === 0) this.#place.append(make("li", { class: "none muted" }, "Nothing has happened yet."));
  }

  /** @param {readonly import("../event-log.ts").LogEntry[]} entries the oldest first */
  add(entries) {
    if (entries.length > 0) this.#place.querySelector(".none")?.remove();
    for (const { at, level, what, detail } of entries) {
      const time = make("time", { datetime: new Date(at * 1000).toISOString() }, clock(at, true));
      const text = make("span", {}, make("b", {}, what), " ", make("span", { class: "detail" }, detail));
      this.#place.prepend(make("li", { class: level }, time, text));
    }
    while (this.#place.children.length > SHOWN_MAX) this.#place.lastElementChild?.remove();
  }
}

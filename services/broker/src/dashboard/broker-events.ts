import type { BrokerReport } from "../broker.ts";
import type { EventLevel, LogEntry } from "./event-log.ts";

/** What the core reports about peers, in the words of the page. Everything else is told as it is, so that nothing is lost. */
const WORDS: Readonly<Record<string, { readonly what: string; readonly level: EventLevel }>> = {
  "worker connected": { what: "Worker connected", level: "good" },
  "worker drains": { what: "Worker drains", level: "warn" },
  "worker gone": { what: "Worker lost", level: "bad" },
  "gateway connected": { what: "Gateway connected", level: "good" },
  "gateway drains": { what: "Gateway drains", level: "warn" },
  "gateway gone": { what: "Gateway lost", level: "bad" },
};

/** Turns the core's reports into entries of the event log; it knows who had said that it leaves. */
export class BrokerEvents {
  readonly #leaving = new Set<string>();

  /** `at`: seconds of the wall clock. */
  entryOf({ text, level, fields }: BrokerReport, at: number): Omit<LogEntry, "id"> {
    const instance = String(fields["instance"] ?? "");
    const reason = fields["reason"] === undefined ? "" : `: ${String(fields["reason"])}`;
    const words = WORDS[text];
    if (words === undefined) {
      const detail = Object.entries(fields).map(([name, value]) => `${name} ${String(value)}`);
      return { at, level, what: text, detail: detail.join(", ") };
    }
    const side = text.split(" ", 1)[0] ?? "";
    const who = `${side} ${instance}`;
    if (text.endsWith(" drains")) this.#leaving.add(who);
    if (text.endsWith(" gone") && this.#leaving.delete(who)) {
      const what = side === "worker" ? "Worker stopped" : "Gateway stopped";
      return { at, level: "info", what, detail: `${instance}${reason}` };
    }
    return { at, ...words, detail: `${instance}${reason}` };
  }
}

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

const LEFT: Readonly<Record<string, string>> = { "worker gone": "Worker stopped", "gateway gone": "Gateway stopped" };

/** Turns a report of the core into an entry of the event log. Who is gone without a warning has said goodbye. `at`: seconds of the wall clock. */
export function eventOf({ text, level, fields }: BrokerReport, at: number): Omit<LogEntry, "id"> {
  const instance = String(fields["instance"] ?? "");
  const reason = fields["reason"] === undefined ? "" : `: ${String(fields["reason"])}`;
  const words = WORDS[text];
  if (words === undefined) {
    const detail = Object.entries(fields).map(([name, value]) => `${name} ${String(value)}`);
    return { at, level, what: text, detail: detail.join(", ") };
  }
  const left = level === "info" ? LEFT[text] : undefined;
  const told = left === undefined ? words : ({ level, what: left } as const);
  return { at, ...told, detail: `${instance}${reason}` };
}

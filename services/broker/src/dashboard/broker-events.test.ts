import { expect, test } from "vitest";
import { eventOf } from "./broker-events.ts";
import { EventLog } from "./event-log.ts";

function tell(text: string, fields: Readonly<Record<string, string>>, level: "info" | "warn" = "info"): string {
  const entry = eventOf({ type: "log", level, text, fields }, 0);
  return `${entry.level} ${entry.what} ${entry.detail}`;
}

test("peers that leave of their own will have stopped, others are lost", () => {
  expect(tell("worker connected", { instance: "w", peer: "x" })).toBe("good Worker connected w");
  expect(tell("worker gone", { instance: "w", reason: "silent" }, "warn")).toBe("bad Worker lost w: silent");
  expect(tell("worker drains", { instance: "w", reason: "SIGTERM" })).toBe("warn Worker drains w: SIGTERM");
  expect(tell("gateway gone", { instance: "w", reason: "silent" }, "warn")).toBe("bad Gateway lost w: silent");
  expect(tell("worker gone", { instance: "w", reason: "bye" })).toBe("info Worker stopped w: bye");
  expect(tell("gateway gone", { instance: "g", reason: "bye" })).toBe("info Gateway stopped g: bye");
});

test("what has no words of its own is told as it is", () => {
  expect(tell("a message was refused", { side: "worker", code: "malformed" })).toBe(
    "info a message was refused side worker, code malformed",
  );
});

test("the log is bounded in entries and in the length of what peers call themselves", () => {
  const log = new EventLog();
  for (let i = 0; i < 500; i++) log.add({ at: i, level: "info", what: "x".repeat(1_000), detail: "y".repeat(1_000) });
  const entries = log.since(0);
  expect([entries.length, entries[0]!.at, log.last]).toEqual([200, 300, 500]);
  expect(JSON.stringify(entries).length).toBeLessThan(200 * 700);
  expect(log.since(498).map(({ id }) => id)).toEqual([499, 500]);
});

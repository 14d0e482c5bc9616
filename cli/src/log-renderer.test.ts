import { stripVTControlCharacters } from "node:util";
import { expect, test } from "vitest";
import { LineSplitter } from "./line-splitter.ts";
import { LogRenderer } from "./log-renderer.ts";

const NOW = new Date(2026, 10, 21, 7, 8, 9, 45);
const plain = new LogRenderer({ prefixes: ["millrace", "worker-1"], colour: false });

function record(fields: object): string {
  const ecs = {
    "ecs.version": "8.11.0",
    "event.dataset": "millrace.worker",
    "log.level": "info",
    "@timestamp": NOW.toISOString(),
    "service.name": "millrace-worker",
  };
  return JSON.stringify({ ...ecs, "service.node.name": "worker-1", ...fields });
}

test("renders a record in columns", () => {
  const line = record({
    "labels.model": "digits",
    tookMs: 12.5,
    shape: [1, -1],
    note: "two words",
    message: "model ready",
  });
  expect(plain.render("worker-1", line, new Date(0))).toBe(
    '07:08:09.045 INFO  worker-1 | model ready model=digits tookMs=12.5 shape=[1,-1] note="two words"',
  );
  expect(plain.render("millrace", record({ message: "x", "log.level": "error" }), NOW)).toBe(
    "07:08:09.045 ERROR millrace | x",
  );
});

test.each(["plain text", "{ not json", '{"json":"but no record"}', "[1]", ""])("passes %j through", (line) => {
  expect(plain.render("worker-1", line, NOW)).toBe(`07:08:09.045       worker-1 | ${line}`);
});

test("shows an error with its frames and causes on lines of their own", () => {
  const error = {
    type: "TypeError",
    message: "bad",
    stack_trace: "TypeError: bad\n    at f (a.ts:1:2)",
    cause: { type: "Error", message: "deeper", stack_trace: "Error: deeper\n    at g (b.ts:3:4)" },
  };
  expect(plain.render("worker-1", record({ "log.level": "error", error, message: "failed" }), NOW).split("\n")).toEqual(
    [
      '07:08:09.045 ERROR worker-1 | failed error="TypeError: bad"',
      "07:08:09.045 ERROR worker-1 |   at f (a.ts:1:2)",
      "07:08:09.045 ERROR worker-1 |   caused by Error: deeper",
      "07:08:09.045 ERROR worker-1 |   at g (b.ts:3:4)",
    ],
  );
});

test("a record cannot steer the terminal", () => {
  const rendered = plain.render("worker-1", record({ message: "a\u001b[2Jb\nc", model: "\u001b[0m" }), NOW);
  expect(rendered).toBe('07:08:09.045 INFO  worker-1 | a\\u001b[2Jb\\nc model="\\u001b[0m"');
  expect(plain.render("worker-1", "\u001b[31mred", NOW)).toMatch(/\| red$/);
});

test("colours change no character", () => {
  const coloured = new LogRenderer({ prefixes: ["millrace", "worker-1"], colour: true });
  const line = record({ model: "digits", message: "model ready" });
  const rendered = coloured.render("worker-1", line, NOW);
  expect(rendered).toContain("\u001b[");
  expect(stripVTControlCharacters(rendered)).toBe(plain.render("worker-1", line, NOW));
});

test("splits lines over chunks and characters", () => {
  const lines: string[] = [];
  const splitter = new LineSplitter((line) => lines.push(line));
  for (const byte of Buffer.from("één\r\n\ntwo\nrest")) splitter.push(Uint8Array.of(byte));
  expect(lines).toEqual(["één", "", "two"]);
  splitter.end();
  splitter.end();
  expect(lines).toEqual(["één", "", "two", "rest"]);
});

test("a line without an end does not grow for ever", () => {
  const lines: string[] = [];
  const splitter = new LineSplitter((line) => lines.push(line));
  splitter.push(Buffer.alloc(70_000, "x"));
  expect(lines.map((line) => line.length)).toEqual([65_536]);
});

import type { ErrorCode } from "@millrace/protocol";
import { expect, test } from "vitest";
import { AccessLog } from "./access-log.ts";
import type { CallEnd } from "./call-end.ts";
import { TEST_STAGES, testModel } from "../testing.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";

function endOf(status: number, code?: ErrorCode, given: Partial<CallEnd> = {}): CallEnd {
  const headers: Readonly<Record<string, string>> = { traceparent: `00-${TRACE}-b7ad6b7169203331-01` };
  const header = (name: string): string | undefined => headers[name];
  const exchange = { requestId: "r1", receivedMs: 1_000, method: "POST", path: "/predict", header };
  return { exchange, status, code, message: 'it says "secret"', model: testModel(), stages: undefined, ...given };
}

test("a call that was not served has a line with all that is known of it", () => {
  const own = { parseMs: 1, preprocessMs: 0, postprocessMs: 0, encodeMs: 0.5 };
  const stages = { own, behind: TEST_STAGES };
  const [line, ...more] = new AccessLog(0).ended(endOf(503, "unavailable", { stages }), 1_002.5);
  expect(more).toEqual([]);
  expect(line).toEqual({
    level: "warn",
    text: "request ended: unavailable",
    fields: {
      "event.outcome": "failure",
      "event.duration": 2_500_000,
      "http.request.id": "r1",
      "http.request.method": "POST",
      "url.path": "/predict",
      "http.response.status_code": 503,
      outcome: "error",
      model: "echo",
      model_version: "1",
      "error.code": "unavailable",
      "error.message": 'it says "secret"',
      "trace.id": TRACE,
      "millrace.stage.parse": 1_000_000,
      "millrace.stage.preprocess": 0,
      "millrace.stage.gateway_queue": 11_000,
      "millrace.stage.broker_queue": 22_000,
      "millrace.stage.batch_wait": 33_000,
      "millrace.stage.compute": 44_000,
      "millrace.stage.postprocess": 0,
      "millrace.stage.retry": 0,
      "millrace.stage.network": 55_000,
      "millrace.stage.encode": 500_000,
    },
  });
});

test.for([
  [400, "invalid_value", "info", "invalid", "failure"],
  [404, "model_not_found", "info", "invalid", "failure"],
  [429, "queue_full", "warn", "shed", "failure"],
  [499, "cancelled", "info", "cancelled", "unknown"],
  [500, "model_error", "error", "error", "failure"],
  [503, "draining", "warn", "error", "failure"],
  [504, "deadline_exceeded", "warn", "expired", "failure"],
] as const)("%d %s is logged as %s, outcome %s", ([status, code, level, outcome, eventOutcome]) => {
  const [line] = new AccessLog(0).ended(endOf(status, code, { model: undefined }), 1_001);
  expect(line?.level).toBe(level);
  expect(line?.fields).toMatchObject({ outcome, "event.outcome": eventOutcome, "error.code": code });
});

test("what a client or a model did wrong is not put in words: they may repeat its data", () => {
  for (const code of ["invalid_value", "not_found", "model_error", "poison"] as const) {
    expect(JSON.stringify(new AccessLog(0).ended(endOf(400, code), 1_001))).not.toContain("secret");
  }
});

test("of the calls that were served each n-th has a line, and none by default", () => {
  const linesOf = (sample: number): number[] => {
    const log = new AccessLog(sample);
    return Array.from({ length: 7 }, () => log.ended(endOf(200), 1_001).length);
  };
  expect(linesOf(0)).toEqual([0, 0, 0, 0, 0, 0, 0]);
  expect(linesOf(1)).toEqual([1, 1, 1, 1, 1, 1, 1]);
  expect(linesOf(3)).toEqual([1, 0, 0, 1, 0, 0, 1]);
  expect(new AccessLog(1).ended(endOf(200), 1_001)[0]).toMatchObject({
    level: "info",
    text: "request served",
    fields: { "event.outcome": "success", outcome: "ok" },
  });
});

test("ten lines a second for each code, the others are counted and told once", () => {
  const log = new AccessLog(0);
  log.flush(1_000);
  let lines = 0;
  for (let i = 0; i < 300; i++) lines += log.ended(endOf(429, "queue_full"), 1_000 + i).length;
  for (let i = 0; i < 5; i++) lines += log.ended(endOf(503, "draining"), 1_400).length;
  expect(lines).toBe(15);
  expect(log.flush(1_999)).toEqual([]);
  expect(log.flush(2_000)).toEqual([
    {
      level: "warn",
      text: "290 more requests ended with queue_full",
      fields: { "error.code": "queue_full", outcome: "shed", omitted: 290 },
    },
  ]);
  expect(log.flush(9_000)).toEqual([]);
  expect(log.ended(endOf(429, "queue_full"), 9_001).length).toBe(1);
});

test("a second that is over is told before the next line; the end tells what is left", () => {
  const log = new AccessLog(0);
  log.flush(1_000);
  for (let i = 0; i < 12; i++) log.ended(endOf(504, "deadline_exceeded"), 1_500);
  const texts = log.ended(endOf(504, "deadline_exceeded"), 2_100).map(({ text }) => text);
  expect(texts).toEqual(["2 more requests ended with deadline_exceeded", "request ended: deadline_exceeded"]);
  for (let i = 0; i < 10; i++) log.ended(endOf(504, "deadline_exceeded"), 2_200);
  expect(log.flush(Infinity).map(({ fields }) => fields["omitted"])).toEqual([1]);
});

test("a path is cut, and a traceparent that is none is left out", () => {
  const header = (): string => "00-00000000000000000000000000000000-b7ad6b7169203331-01";
  const exchange = { requestId: "r", receivedMs: 0, method: "GET", path: `/${"x".repeat(5_000)}`, header };
  const [line] = new AccessLog(0).ended(endOf(404, "not_found", { exchange }), 1_001);
  expect(String(line?.fields["url.path"]).length).toBe(200);
  expect(line?.fields).not.toHaveProperty(["trace.id"]);
});

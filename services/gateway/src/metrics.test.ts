import { type ErrorCode, ERROR_CODES } from "@millrace/protocol";
import { Histogram, STAGES } from "@millrace/runtime";
import { beforeEach, expect, test } from "vitest";
import type { CallEnd } from "./call/call-end.ts";
import { GATEWAY_METRICS } from "./metric-table.ts";
import { GatewayMetrics } from "./metrics.ts";
import { EchoInference, TEST_STAGES, testModel } from "./testing.ts";

const MODEL = testModel();
const OWN = { parseMs: 1, preprocessMs: 2, postprocessMs: 3, encodeMs: 4 };

let metrics: GatewayMetrics;

beforeEach(() => {
  metrics = new GatewayMetrics("0.0.0");
  metrics.watch(new EchoInference([MODEL]).models, { active: ["a"], discovery: { addresses: 3, failures: 2 } });
});

function end(code: ErrorCode | undefined, given: Partial<CallEnd> = {}): void {
  const exchange = {
    requestId: "",
    receivedMs: performance.now() - 20,
    method: "POST",
    path: "/",
    header: () => undefined,
  };
  const status = code === undefined ? 200 : ERROR_CODES[code].http;
  metrics.ended({ exchange, status, code, message: "", model: MODEL, stages: undefined, ...given });
}

/** Calls by outcome and status, of one model. */
function counted(model = MODEL.name): Record<string, number> {
  const own = metrics.values.series("millrace_gateway_requests_total").filter(({ labels, recorder }) => {
    return labels["model"] === model && recorder.value > 0;
  });
  return Object.fromEntries(
    own.map(({ labels, recorder }) => [`${labels["outcome"]} ${labels["code"]}`, recorder.value]),
  );
}

function inFlight(): number {
  return metrics.values.gauge("millrace_gateway_inflight_requests", { model: MODEL.name }).value;
}

test("a model that a broker has told of has all of its series, at 0", () => {
  metrics.values.refresh();
  const hooks = metrics.values.series("millrace_gateway_hook_calls_total");
  expect(hooks.filter(({ labels }) => labels["model"] === "echo")).toEqual([]);
  metrics.hooks.know("echo");
  for (const [name, row] of Object.entries(GATEWAY_METRICS)) {
    if (!(row.labels as readonly string[]).includes("model")) continue;
    const own = metrics.values
      .series(name as keyof typeof GATEWAY_METRICS)
      .filter(({ labels }) => labels["model"] === "echo");
    expect(own.length, name).toBeGreaterThan(0);
    for (const { recorder } of own) expect(recorder instanceof Histogram ? recorder.count : recorder.value).toBe(0);
  }
  const stages = metrics.values.series("millrace_stage_duration_seconds").map(({ labels }) => labels["stage"]);
  expect(new Set(stages)).toEqual(new Set(Object.keys(STAGES)));
});

test("a call ends with its outcome and status, and is no longer in flight", () => {
  const codes = [
    "shed",
    "queue_full",
    "deadline_exceeded",
    "cancelled",
    "unavailable",
    "model_error",
    "invalid_json",
  ] as const;
  for (const code of [undefined, undefined, ...codes]) {
    metrics.began(MODEL);
    expect(inFlight()).toBe(1);
    end(code);
  }
  expect(inFlight()).toBe(0);
  expect(counted()).toEqual({
    "ok 200": 2,
    "shed 429": 2,
    "expired 504": 1,
    "cancelled 499": 1,
    "error 503": 1,
    "error 500": 1,
    "invalid 400": 1,
  });
  const ok = metrics.values.histogram("millrace_gateway_request_duration_seconds", { model: "echo", outcome: "ok" });
  expect([ok.count, ok.sum]).toEqual([2, expect.closeTo(0.04, 2)]);
});

test("the stages of a result are recorded, all of them and in seconds; those of a refusal are not", () => {
  metrics.began(MODEL);
  end(undefined, { stages: { own: OWN, behind: TEST_STAGES } });
  metrics.began(MODEL);
  end("model_error", { stages: { own: OWN, behind: TEST_STAGES } });
  const series = metrics.values
    .series("millrace_stage_duration_seconds")
    .filter(({ labels }) => labels["model"] === "echo");
  const sums = Object.fromEntries(
    series.map(({ labels, recorder }) => [labels["stage"], Math.round(recorder.sum * 1e6)]),
  );
  expect(sums).toEqual({
    parse: 1000,
    preprocess: 2000,
    gateway_queue: 11,
    broker_queue: 22,
    batch_wait: 33,
    compute: 44,
    postprocess: 3000,
    retry: 0,
    network: 55,
    encode: 4000,
  });
  for (const { recorder } of series) expect(recorder.count).toBe(1);
});

test("what clients write makes no series: calls for no model share one", () => {
  for (let i = 0; i < 3; i++) end("model_not_found", { model: undefined });
  end("not_found", { model: undefined });
  expect(counted("")).toEqual({ "invalid 404": 4 });
  expect(inFlight()).toBe(0);
});

test("the hundred-and-first model shares the series of no model", () => {
  for (let i = 0; i < 105; i++) metrics.began(testModel({ name: `m${i}` }));
  const names = metrics.values.series("millrace_gateway_inflight_requests").map(({ labels }) => labels["model"]);
  expect(names).toHaveLength(101);
});

test("connections to brokers by state", () => {
  metrics.values.refresh();
  const links = metrics.values.series("millrace_gateway_broker_links");
  expect(links.map(({ labels, recorder }) => [labels["state"], recorder.value])).toEqual([
    ["active", 1],
    ["connecting", 2],
  ]);
});

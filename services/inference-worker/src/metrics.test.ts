import { ERROR_CODES, type ResultItem, type WorkerModel } from "@millrace/protocol";
import { expect, test } from "vitest";
import { WorkerMetrics } from "./metrics.ts";

const MODEL: WorkerModel = {
  index: 3,
  memoryBytes: 0,
  fingerprint: "",
  buckets: [],
  curve: [],
  slots: [],
  model: {
    name: "digits",
    version: "2",
    state: "ready",
    reason: "",
    platform: "onnxruntime_onnx",
    digest: "abc",
    batching: true,
    maxBatchSize: 8,
    timeoutMs: 0,
    sloMs: 0,
    maxHoldMs: 0,
    maxRequestRows: 8,
    share: 1,
    maxBatchElements: 0,
    axes: [],
    optionalInputs: [],
    inputs: [],
    outputs: [],
  },
};

function loadedMetrics(): WorkerMetrics {
  const metrics = new WorkerMetrics("0.0.0");
  metrics.hasSlots(2);
  const copies = [
    { slot: 0, bytes: 1_000 },
    { slot: 1, bytes: 2_000 },
  ];
  metrics.loaded(MODEL, { provider: "cpu", seconds: 1.5, copies });
  return metrics;
}

function itemOf(code: number): ResultItem {
  const none = {
    retryAfterMs: 0,
    brokerQueueUs: 0,
    retryUs: 0,
    text: "",
    payload: Buffer.alloc(0),
    tensors: Buffer.alloc(0),
  };
  return { request: 0, attempt: 0, code, ...none };
}

test("a model that is loaded is shown with its digest, and with 0 for what has not happened", () => {
  const { values } = loadedMetrics();
  expect(values.series("millrace_worker_model_info")).toMatchObject([
    { labels: { model: "digits", version: "2", sha256: "abc", provider: "cpu" }, recorder: { value: 1 } },
  ]);
  expect(values.gauge("millrace_worker_model_load_seconds", { model: "digits", version: "2" }).value).toBe(1.5);
  expect(values.series("millrace_worker_model_memory_bytes")).toMatchObject([
    { labels: { model: "digits", version: "2", slot: "0" }, recorder: { value: 1_000 } },
    { labels: { slot: "1" }, recorder: { value: 2_000 } },
  ]);
  expect(values.series("millrace_worker_rows_total")).toMatchObject([{ recorder: { value: 0 } }]);
});

test("the slots are those of the worker, and not of each of its models", () => {
  const metrics = loadedMetrics();
  metrics.loaded(
    { ...MODEL, index: 4, model: { ...MODEL.model, name: "faces" } },
    { provider: "cuda", seconds: 1, copies: [] },
  );
  expect(metrics.values.series("millrace_worker_slots")).toMatchObject([{ labels: {}, recorder: { value: 2 } }]);
});

test("a model that cannot serve has no series", () => {
  const metrics = new WorkerMetrics("0.0.0");
  metrics.loaded({ ...MODEL, model: { ...MODEL.model, state: "failed" } }, { provider: "cpu", seconds: 1, copies: [] });
  expect(metrics.values.series("millrace_worker_model_info")).toEqual([]);
});

test("a batch counts once, each of its runs with its rows; one of which nothing ran has no wait", () => {
  const metrics = loadedMetrics();
  const { values } = metrics;
  metrics.batchDone(3, {
    runs: [{ rows: 5, computeMs: 10, elements: 40, paddingElements: 10 }],
    waitMs: 2,
    busyMs: 12,
  });
  metrics.batchDone(3, {
    runs: [1, 2].map((rows) => ({ rows, computeMs: 4, elements: 8, paddingElements: rows })),
    waitMs: 3,
    busyMs: 20,
  });
  metrics.batchDone(3, { runs: [], waitMs: 0, busyMs: 1 });
  expect(values.counter("millrace_worker_batches_total", { model: "digits" }).value).toBe(3);
  expect(values.counter("millrace_worker_rows_total", { model: "digits" }).value).toBe(8);
  expect(values.counter("millrace_worker_input_elements_total", { model: "digits" }).value).toBe(56);
  expect(values.counter("millrace_worker_padding_elements_total", { model: "digits" }).value).toBe(13);
  expect(values.counter("millrace_worker_busy_seconds_total", { model: "digits" }).value).toBeCloseTo(0.033);
  const { count, sum } = values.histogram("millrace_worker_inference_seconds", { model: "digits", provider: "cpu" });
  expect([count, sum]).toEqual([3, expect.closeTo(0.018)]);
  expect(values.histogram("millrace_worker_batch_wait_seconds", { model: "digits" }).count).toBe(2);
});

test("errors count by code, results do not", () => {
  const metrics = loadedMetrics();
  const { model_error, unsupported } = ERROR_CODES;
  metrics.answered(3, [0, model_error.number, model_error.number, unsupported.number].map(itemOf));
  const seen = metrics.values.series("millrace_worker_errors_total").filter(({ recorder }) => recorder.value > 0);
  expect(seen.map(({ labels, recorder }) => [labels["reason"], recorder.value])).toEqual([
    ["model_error", 2],
    ["unsupported", 1],
  ]);
});

test("the observer's calls reach the sessions with brokers", () => {
  const metrics = loadedMetrics();
  const reconnects = metrics.values.counter("millrace_reconnects_total", { component: "worker", peer: "broker" });
  metrics.brokerFound("tcp://10.0.0.1:5551");
  metrics.brokerLost("tcp://10.0.0.1:5551");
  metrics.brokerFound("tcp://10.0.0.1:5551");
  expect(reconnects.value).toBe(1);
  metrics.brokerLost("tcp://10.0.0.1:5551");
  metrics.brokerGivenUp("tcp://10.0.0.1:5551");
  metrics.brokerFound("tcp://10.0.0.1:5551");
  expect(reconnects.value).toBe(1);
});

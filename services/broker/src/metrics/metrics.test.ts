import { ERROR_CODES } from "@millrace/protocol";
import { Histogram } from "@millrace/runtime";
import { beforeEach, expect, test } from "vitest";
import { BROKER_METRICS } from "./metric-table.ts";
import { BrokerMetrics } from "./metrics.ts";
import { BrokerDriver } from "../testing/broker-driver.ts";
import { modelOf, resultItem, resultMessage } from "../testing/message-builders.ts";

let metrics: BrokerMetrics;
let driver: BrokerDriver;

function start(options: ConstructorParameters<typeof BrokerDriver>[0] = {}): void {
  metrics = new BrokerMetrics("0.0.0");
  driver = new BrokerDriver({ ...options, observer: metrics });
  metrics.watch(driver.core, () => driver.nowMs);
}

beforeEach(() => start());

type MetricName = keyof typeof BROKER_METRICS;

/** What a metric says of a model, by its other label: those that are not 0. Histograms as [count, sum]. */
function seen(name: MetricName, model = "m"): Record<string, unknown> {
  driver.decide();
  metrics.values.refresh();
  const found: Record<string, unknown> = {};
  for (const { labels, recorder } of metrics.values.series(name)) {
    if (labels["model"] !== undefined && labels["model"] !== model) continue;
    const key = Object.entries(labels)
      .filter(([label]) => label !== "model")
      .map(([, value]) => value)
      .join(" ");
    const isHistogram = (recorder as unknown) instanceof Histogram;
    const { count, sum } = recorder as unknown as Histogram;
    const value = isHistogram ? count : (recorder as { value: number }).value;
    if (value !== 0) found[key] = isHistogram ? [count, round(sum)] : round(value);
  }
  return found;
}

function round(value: number): number {
  return Math.round(value * 1e6) / 1e6;
}

test("an answered request: its residence, its stages, its batch", () => {
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  gateway.submit([1], { rows: 3 });
  const [job] = worker.jobs();
  gateway.submit([2]);
  driver.advance(20);
  worker.say({ ...resultMessage(job!, 12), batchWaitUs: 5_000 });
  expect(seen("millrace_broker_messages_total")).toEqual({ ok: 1 });
  expect(seen("millrace_broker_request_duration_seconds")).toEqual({ ok: [1, 0.02] });
  expect(seen("millrace_broker_stage_duration_seconds")).toEqual({
    broker_queue: [1, 0],
    retry: [1, 0],
    batch_wait: [1, 0.005],
    compute: [1, 0.012],
    network: [1, 0.003],
  });
  expect(seen("millrace_broker_worker_roundtrip_seconds")).toEqual({ "": [1, 0.02] });
  expect(seen("millrace_broker_batch_compute_seconds")).toEqual({ "": [1, 0.012] });
  expect(seen("millrace_broker_busy_seconds_total")).toEqual({ "": 0.012 });
  // The second left behind the answer of the first, when its slot was idle.
  expect(seen("millrace_broker_batch_rows")).toEqual({ "": [2, 4] });
  expect(seen("millrace_broker_batches_total")).toEqual({ idle: 2 });
  expect(seen("millrace_broker_queue_wait_seconds")).toEqual({ "": [2, 0.02] });
});

test("what runs keeps slots busy while it runs; one that is answered counts as its worker measured it", () => {
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  gateway.submit([1, 2], { budgetUs: 60_000_000, rows: 8 });
  driver.decide();
  const [first] = worker.jobs();
  const busy: unknown[] = [];
  for (let second = 1; second <= 3; second++) {
    driver.advance(1_000);
    busy.push(seen("millrace_broker_busy_seconds_total")[""]);
  }
  expect(busy).toEqual([1, 2, 3]);
  worker.say(resultMessage(first!, 2_990));
  // The next one has had the slot from then on.
  expect(seen("millrace_broker_busy_seconds_total")).toEqual({ "": 3 });
  driver.advance(1_000);
  const [second] = worker.jobs();
  expect(seen("millrace_broker_busy_seconds_total")).toEqual({ "": 3.99 });
  driver.advance(1_000);
  worker.say(resultMessage(second!, 1_980));
  expect(seen("millrace_broker_busy_seconds_total")).toEqual({ "": 4.97 });
});

test("what ran on a worker that was lost has kept a slot busy, and what runs afterwards counts at once", () => {
  const gateway = driver.gateway();
  const [a, b] = [driver.worker("a"), driver.worker("b")];
  gateway.submit([1], { budgetUs: 60_000_000 });
  driver.decide();
  const [holder, other] = a.jobs().length > 0 ? [a, b] : [b, a];
  driver.advance(5_000);
  expect(seen("millrace_broker_busy_seconds_total")).toEqual({ "": 5 });
  holder.leave();
  driver.decide();
  const [job] = other.jobs();
  driver.advance(500);
  other.say(resultMessage(job!, 490));
  expect(seen("millrace_broker_busy_seconds_total")).toEqual({ "": 5.49 });
});

test("why a batch left: it was full, or nothing was to be gained by waiting", () => {
  const gateway = driver.gateway();
  const worker = driver.worker("w", { curveMs: [[8, 10]] });
  gateway.submit([1]);
  driver.decide();
  gateway.submit([2]);
  driver.advance(30);
  for (const job of worker.jobs()) worker.answer(job);
  gateway.submit([3], { rows: 8 });
  driver.decide();
  expect(seen("millrace_broker_batches_total")).toEqual({ idle: 2, full: 1 });
});

test("every end has its outcome: shed, expired, cancelled, error; and the refusals of the broker their reason", () => {
  start({ queueRowsMax: 2 });
  const gateway = driver.gateway();
  const worker = driver.worker("w", { credit: 1 });
  gateway.submit([1]);
  const [job] = worker.jobs();
  worker.say(resultMessage(job!, 1, [resultItem(job!, 0, { code: ERROR_CODES.model_error.number })]));
  driver.decide();
  gateway.submit([2, 3, 4], { budgetUs: 50_000 });
  gateway.submit([5], { rows: 9 });
  gateway.submit([6], { route: 77 });
  gateway.cancel(2);
  driver.advance(60);
  expect(seen("millrace_broker_messages_total")).toEqual({ shed: 1, expired: 1, cancelled: 1, error: 2 });
  expect(seen("millrace_broker_messages_total", "")).toEqual({ error: 1 });
  expect(seen("millrace_broker_rejected_total")).toEqual({ queue_full: 1, deadline_exceeded: 1, too_many_rows: 1 });
  expect(seen("millrace_broker_rejected_total", "")).toEqual({ model_not_found: 1 });
});

test("a request that its gateway cancels because its budget has passed is expired, not cancelled", () => {
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  gateway.submit([1, 2], { budgetUs: 50_000 });
  worker.jobs();
  driver.advance(45);
  gateway.cancel(1);
  expect(seen("millrace_broker_messages_total")).toEqual({ expired: 1 });
});

test("levels: what waits, what is out, how old, and what it adds up to over time", () => {
  const gateway = driver.gateway();
  const worker = driver.worker("w", { credit: 1 });
  gateway.submit([1, 2]);
  driver.decide();
  driver.advance(100);
  gateway.submit([3, 4, 5], { rows: 2 });
  driver.advance(300);
  expect(seen("millrace_broker_queue_depth")).toEqual({ "": 3 });
  expect(seen("millrace_broker_queue_rows")).toEqual({ "": 6 });
  expect(seen("millrace_broker_queue_oldest_age_seconds")).toEqual({ "": 0.3 });
  expect(seen("millrace_broker_inflight_requests")).toEqual({ "": 2 });
  // Two for 400 ms and three for 300 ms.
  expect(seen("millrace_broker_demand_request_seconds_total")).toEqual({ "": 1.7 });
  for (const job of worker.jobs()) worker.answer(job);
  for (const job of worker.jobs()) worker.answer(job);
  driver.advance(1_000);
  expect(seen("millrace_broker_demand_request_seconds_total")).toEqual({ "": 1.7 });
  for (const name of ["millrace_broker_queue_depth", "millrace_broker_inflight_requests"] as const) {
    expect(seen(name)).toEqual({});
  }
});

test("workers by state, with the credit of those that are ready; a model stays when its last worker has gone", () => {
  const a = driver.worker("a", { slots: 2 });
  const b = driver.worker("b", { models: [modelOf("m"), modelOf("m", { version: "2" })] });
  expect(seen("millrace_broker_workers")).toEqual({ "1 ready": 2, "2 ready": 1 });
  // Two batches a slot; a worker's credit counts once a version.
  expect(seen("millrace_broker_worker_credits")).toEqual({ "": 4 + 2 + 2 });
  b.say({ command: "DRAIN", reason: "", graceMs: 0 });
  a.isSilent = true;
  driver.advance(2_000);
  expect(seen("millrace_broker_workers")).toEqual({ "1 suspect": 1, "1 draining": 1, "2 draining": 1 });
  driver.advance(2_000);
  b.leave();
  expect(seen("millrace_broker_workers")).toEqual({});
  const kept = metrics.values.series("millrace_broker_workers").map(({ labels }) => labels["version"]);
  expect(new Set(kept)).toEqual(new Set(["1", "2"]));
  expect(seen("millrace_broker_peer_events_total")).toEqual({
    "worker connected": 2,
    "worker draining": 1,
    "worker heartbeat_missed": 1,
    "worker disconnected": 2,
  });
});

test("capacity: slots of all ready workers, and for each model of those that serve it, once a worker", () => {
  const versions = [modelOf("m"), modelOf("m", { version: "2" }), modelOf("n")];
  const a = driver.worker("a", { slots: 2, models: versions });
  driver.worker("b", { slots: 3 });
  expect(seen("millrace_broker_slots")).toEqual({ "": 5 });
  expect(seen("millrace_broker_model_slots")).toEqual({ "": 5 });
  expect(seen("millrace_broker_model_slots", "n")).toEqual({ "": 2 });
  a.say({ command: "DRAIN", reason: "", graceMs: 0 });
  expect(seen("millrace_broker_slots")).toEqual({ "": 3 });
  expect(seen("millrace_broker_model_slots")).toEqual({ "": 3 });
  expect(seen("millrace_broker_model_slots", "n")).toEqual({});
});

test("retries say why, and lost messages are counted", () => {
  const [gateway, a, b] = [driver.gateway(), driver.worker("a"), driver.worker("b")];
  gateway.submit([1]);
  driver.decide();
  const [holder, other] = a.jobs().length > 0 ? [a, b] : [b, a];
  holder.leave();
  const [job] = other.jobs();
  other.handBack(job!, false);
  driver.decide();
  expect(seen("millrace_broker_retries_total")).toEqual({ worker_lost: 1, handed_back: 1 });
  holder.say({ command: "GOODBYE", reason: "", graceMs: 0 });
  other.seq++;
  other.say({ command: "GOODBYE", reason: "", graceMs: 0 });
  expect(seen("millrace_broker_dropped_messages_total")).toEqual({ unknown_peer: 2 });
  expect(seen("millrace_broker_peer_events_total")).toMatchObject({ "worker messages_lost": 1 });
});

test("a model's series are there, at 0, from the moment that it is known", () => {
  driver.worker();
  metrics.values.refresh();
  for (const [name, { labels }] of Object.entries(BROKER_METRICS)) {
    if (!(labels as readonly string[]).includes("model")) continue;
    const models = metrics.values.series(name as MetricName).map(({ labels }) => labels["model"]);
    expect(models, name).toContain("m");
  }
});

test("the hundred-and-first model shares its series with all that follow", () => {
  driver.worker("w", { models: Array.from({ length: 103 }, (_, i) => modelOf(`m${i}`)) });
  metrics.values.refresh();
  const models = new Set(metrics.values.series("millrace_broker_queue_depth").map(({ labels }) => labels["model"]));
  expect(models.size).toBe(101);
  expect(seen("millrace_broker_workers", "")).toEqual({ " ready": 3 });
});

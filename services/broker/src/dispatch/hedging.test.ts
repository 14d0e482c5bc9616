import { ERROR_CODES, type MessageOf, REQUEST_FLAGS } from "@millrace/protocol";
import { expect, test } from "vitest";
import type { BROKER_METRICS } from "../metrics/metric-table.ts";
import { BrokerMetrics } from "../metrics/metrics.ts";
import { BrokerDriver, type FakeGateway, type FakeWorker, requestsOf } from "../testing/broker-driver.ts";
import { modelOf, resultItem, resultMessage } from "../testing/message-builders.ts";

const RUN_MS = 20;
/** Past the predicted end by a quarter of the time, and the assumed hand-over before it. */
const LATE_AFTER_MS = 0.3 + 1.25 * RUN_MS;

type Scene = {
  readonly driver: BrokerDriver;
  readonly metrics: BrokerMetrics;
  readonly gateway: FakeGateway;
  readonly workers: readonly FakeWorker[];
  /** Batches that have come since, with the worker that has them. */
  readonly jobs: () => { readonly job: MessageOf<"JOB">; readonly worker: FakeWorker }[];
};

/** Workers of one model without batches, 20 ms a run; so many batches have run that hedges are saved up. */
function scene(workers = 4, hedgePercent = 100, slots = 1): Scene {
  const metrics = new BrokerMetrics("0.0.0");
  const driver = new BrokerDriver({ hedgePercent, observer: metrics });
  const gateway = driver.gateway();
  const models = [modelOf("m", { maxHoldMs: 0 })];
  const all = Array.from({ length: workers }, (_, i) =>
    driver.worker(`w${i}`, { models, slots, curveMs: [[8, RUN_MS]] }),
  );
  const jobs: Scene["jobs"] = () => all.flatMap((worker) => worker.jobs().map((job) => ({ job, worker })));
  for (let i = 0; i < 3; i++) {
    gateway.submit([900 + i]);
    const [{ job, worker }] = jobs() as [{ job: MessageOf<"JOB">; worker: FakeWorker }];
    driver.advance(RUN_MS);
    worker.answer(job, RUN_MS);
    driver.advance(3_000);
  }
  gateway.answers();
  return { driver, metrics, gateway, workers: all, jobs };
}

type Run = ReturnType<Scene["jobs"]>[number];

/** Sends request 1 and lets it be late: its first run, and its second. */
function lateRuns({ driver, gateway, jobs }: Scene): [Run, Run] {
  gateway.submit([1]);
  const runs = jobs();
  driver.advance(LATE_AFTER_MS + 0.1);
  runs.push(...jobs());
  expect(runs).toHaveLength(2);
  return runs as [Run, Run];
}

function counted({ metrics }: Scene): Record<string, number> {
  metrics.values.refresh();
  const series = metrics.values.series("millrace_broker_hedges_total" satisfies keyof typeof BROKER_METRICS);
  return Object.fromEntries(
    series
      .filter(({ labels }) => labels["model"] === "m")
      .map(({ labels, recorder }) => [labels["event"], (recorder as { value: number }).value]),
  );
}

/** All that is held is given back: no request, no bytes, each slot with its two credits. */
function expectAtRest({ driver }: Scene): void {
  driver.decide();
  expect(driver.core.openRequests).toBe(0);
  const { gateways, workers } = driver.core.describeSessions();
  for (const { open } of gateways) expect(open).toBe(0);
  for (const { bytes_out: bytesOut, slots } of workers) {
    expect(bytesOut).toBe(0);
    for (const slot of slots) expect(slot).toMatchObject({ out: 0, granted: slot.dispatched + 2 });
  }
}

test("a late batch runs a second time on another worker; the first answer counts, the other run is called off", () => {
  const all = scene();
  const { driver, gateway, jobs } = all;
  gateway.submit([1, 2]);
  const [first] = jobs();
  driver.advance(LATE_AFTER_MS - 0.1);
  expect(jobs()).toEqual([]);
  driver.advance(0.2);
  const [second, ...more] = jobs();
  expect(more).toEqual([]);
  expect(second!.worker).not.toBe(first!.worker);
  expect(second!.job.items).toMatchObject([
    { request: 1, attempt: 0 },
    { request: 2, attempt: 0 },
  ]);
  driver.advance(RUN_MS);
  second!.worker.answer(second!.job, RUN_MS);
  const [result] = gateway.take("RESULT");
  expect(result!.items.map(({ request }) => request)).toEqual([1, 2]);
  // What the first run cost before the second began is the time of an attempt that failed.
  expect(result!.items[0]!.retryUs).toBeCloseTo(1_000 * (LATE_AFTER_MS + 0.1), -3);
  expect(first!.worker.take("CANCEL").flatMap(({ items }) => items)).toEqual([
    { batch: first!.job.batch, request: 0 },
    { batch: first!.job.batch, request: 1 },
  ]);
  first!.worker.answer(first!.job, 60);
  expect(gateway.answers()).toEqual([]);
  expect(counted(all)).toEqual({ sent: 1, won: 2 });
  expect(driver.core.models.find("m")!.decisions.latest(2, driver.nowMs)).toMatchObject([
    { decision: "sent", why: "hedge", ended: "answered" },
    { decision: "sent", ended: "answered", compute_ms: 60 },
  ]);
  expectAtRest(all);
});

test("the late run may answer first, too", () => {
  const all = scene();
  const { gateway } = all;
  const [first, second] = lateRuns(all);
  first.worker.answer(first.job, 26);
  expect(gateway.answers()).toMatchObject([{ request: 1, code: "ok" }]);
  expect(second.worker.take("CANCEL")).toMatchObject([{ items: [{ batch: second.job.batch, request: 0 }] }]);
  second.worker.answer(second.job, 20);
  expect(gateway.answers()).toEqual([]);
  expect(counted(all)).toEqual({ sent: 1, won: 0 });
  expectAtRest(all);
});

test("a failure of one run is left to the other, whether it is an error, an answer left out, a batch handed back, or a lost worker", () => {
  for (const fail of [
    ({ job, worker }: Run) =>
      worker.say({
        ...resultMessage(job, 20, [resultItem(job, 0, { code: ERROR_CODES.internal.number })]),
        granted: ++worker.granted[0]!,
      }),
    ({ job, worker }: Run) => worker.say({ ...resultMessage(job, 20, []), granted: ++worker.granted[0]! }),
    ({ job, worker }: Run) => worker.handBack(job, true),
    ({ worker }: Run) => worker.leave(),
  ]) {
    for (const failsFirst of [0, 1]) {
      const all = scene();
      const { gateway, jobs } = all;
      const runs = lateRuns(all);
      fail(runs[failsFirst]!);
      expect(gateway.answers()).toEqual([]);
      expect(jobs()).toEqual([]);
      const other = runs[1 - failsFirst]!;
      other.worker.answer(other.job, RUN_MS);
      expect(gateway.answers()).toEqual([{ request: 1, attempt: 0, code: "ok" }]);
      expectAtRest(all);
    }
  }
});

test("a request that loses the workers of both of its runs ends, so that it costs two at most", () => {
  const all = scene();
  const { gateway, jobs } = all;
  for (const { worker } of lateRuns(all)) worker.leave();
  expect(gateway.answers()).toEqual([{ request: 1, attempt: 0, code: "worker_lost" }]);
  expect(jobs()).toEqual([]);
  expectAtRest(all);
});

test("a client that goes away calls off both runs", () => {
  const all = scene();
  const { gateway } = all;
  const runs = lateRuns(all);
  gateway.cancel(1);
  for (const { job, worker } of runs)
    expect(worker.take("CANCEL")).toMatchObject([{ items: [{ batch: job.batch, request: 0 }] }]);
  for (const { job, worker } of runs) worker.answer(job, 30);
  expect(gateway.answers()).toEqual([]);
  expectAtRest(all);
});

test("a second run goes to the fastest worker that is idle, not to a slow one that rests because it is slow", () => {
  const all = scene();
  // The only one that has had no batch yet.
  [...all.driver.core.sessions.worker.values()][3]!.slowness = 2.5;
  expect(lateRuns(all).map(({ worker }) => all.workers.indexOf(worker))).toEqual([0, 1]);
});

test("nothing runs twice that may not, or would be late all the same, or that has no other worker", () => {
  const { driver, gateway, jobs } = scene();
  gateway.submit([1], { flags: REQUEST_FLAGS.noRetry });
  gateway.submit([2], { budgetUs: 40_000 });
  gateway.submit([3]);
  expect(requestsOf(jobs().map(({ job }) => job))).toEqual([[2, 1, 3]]);
  driver.advance(LATE_AFTER_MS + 0.1);
  expect(requestsOf(jobs().map(({ job }) => job))).toEqual([[3]]);
  const alone = scene(1, 100, 4);
  alone.gateway.submit([1]);
  alone.jobs();
  alone.driver.advance(60);
  expect(alone.jobs()).toEqual([]);
});

test("hedges keep their budget, and a pool with less than three slots in ten to spare has none", () => {
  const poor = scene(10, 30);
  // Four batches at 30 in 100 have earned one and a fifth; three at the time of the first.
  lateRuns(poor);
  poor.gateway.submit([2]);
  poor.jobs();
  poor.driver.advance(LATE_AFTER_MS + 0.1);
  expect(poor.jobs()).toEqual([]);
  const busy = scene(10);
  for (let number = 1; number <= 7; number++) {
    busy.gateway.submit([number]);
    expect(busy.jobs()).toHaveLength(1);
  }
  busy.driver.advance(LATE_AFTER_MS + 0.1);
  expect(busy.jobs()).toEqual([]);
});

test("off, nothing runs twice", () => {
  const { driver, gateway, jobs } = scene(4, 0);
  gateway.submit([1]);
  jobs();
  driver.advance(200);
  expect(jobs()).toEqual([]);
});

import { type MessageOf, REQUEST_FLAGS, type SubmitItem } from "@millrace/protocol";
import { expect, test } from "vitest";
import { BrokerDriver, type FakeGateway, type FakeWorker, requestsOf } from "../testing/broker-driver.ts";
import { modelOf } from "../testing/message-builders.ts";

const RUN_MS = 20;
/** Past the predicted end by a quarter of the time, and the assumed hand-over before it. */
const LATE_AFTER_MS = 0.3 + 1.25 * RUN_MS;

type Job = MessageOf<"JOB">;
type Scene = {
  readonly driver: BrokerDriver;
  readonly gateway: FakeGateway;
  readonly late: FakeWorker;
  readonly other: FakeWorker;
  readonly running: Job;
  readonly staged: Job;
};

/** A worker that is about to be late with request 1 and has request 2 staged behind it, and another one, idle if there is one. */
function scene(given: { readonly workers?: number; readonly second?: Partial<SubmitItem> } = {}): Scene {
  const { workers = 2, second } = given;
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  const models = [modelOf("m", { maxHoldMs: 0 })];
  const all = Array.from({ length: workers }, (_, i) => driver.worker(`w${i}`, { models, curveMs: [[8, RUN_MS]] }));
  const [late, ...others] = all as [FakeWorker, ...FakeWorker[]];
  gateway.submit([1]);
  const [running] = late.jobs();
  const busy = others.map((worker, i) => {
    gateway.submit([90 + i]);
    return { worker, job: worker.jobs()[0]! };
  });
  driver.advance(RUN_MS);
  gateway.submit([2], second);
  const [staged] = late.jobs();
  for (const { worker, job } of busy) worker.answer(job, RUN_MS);
  gateway.answers();
  driver.advance(LATE_AFTER_MS - RUN_MS - 0.1);
  return { driver, gateway, late, other: others[0] ?? late, running: running!, staged: staged! };
}

function expectAtRest({ driver }: Scene): void {
  driver.decide();
  expect(driver.core.openRequests).toBe(0);
  for (const { bytes_out: bytesOut, slots } of driver.core.describeSessions().workers) {
    expect(bytesOut).toBe(0);
    for (const slot of slots) expect(slot).toMatchObject({ out: 0, granted: slot.dispatched + 2 });
  }
}

test("what is staged behind a late batch runs elsewhere, and its worker is told not to begin it", () => {
  const all = scene();
  const { driver, gateway, late, other, running, staged } = all;
  expect(requestsOf([running, staged])).toEqual([[1], [2]]);
  expect(other.jobs()).toEqual([]);
  driver.advance(1.2);
  expect(late.take("CANCEL").flatMap(({ items }) => items)).toEqual([{ batch: staged.batch, request: 0 }]);
  const [again] = other.jobs();
  expect(requestsOf([again!])).toEqual([[2]]);
  other.answer(again!, RUN_MS);
  const [result] = gateway.take("RESULT");
  expect(result!.items).toMatchObject([{ request: 2, attempt: 0, code: 0 }]);
  expect(result!.items[0]!.retryUs).toBeGreaterThan(5_000);
  late.answer(running, 500);
  late.say({ ...emptyResult(staged), granted: ++late.granted[0]! });
  expect(gateway.answers()).toEqual([{ request: 1, attempt: 0, code: "ok" }]);
  expect(driver.core.models.find("m")!.decisions.latest(2, driver.nowMs)).toMatchObject([
    { ended: "answered" },
    { ended: "taken_back" },
  ]);
  expectAtRest(all);
});

test("where it had begun all the same its first answer counts, whether it waits or runs by then", () => {
  for (const isIdle of [true, false]) {
    const all = scene();
    const { driver, gateway, late, other, running, staged } = all;
    if (!isIdle) gateway.submit([5]);
    const others = other.jobs();
    driver.advance(1.2);
    others.push(...other.jobs());
    expect(requestsOf(others)).toEqual(isIdle ? [[2]] : [[5]]);
    late.answer(running, 28);
    late.answer(staged, RUN_MS);
    expect(gateway.answers()).toMatchObject([{ request: 1 }, { request: 2, code: "ok" }]);
    expect(other.take("CANCEL")).toHaveLength(isIdle ? 1 : 0);
    other.answer(others[0]!, RUN_MS);
    expect(gateway.answers()).toMatchObject(isIdle ? [] : [{ request: 5, code: "ok" }]);
    expectAtRest(all);
  }
});

test("after a pause of the broker itself the answers that are here are read before anything is taken back", () => {
  const { driver, gateway, late, other, running } = scene();
  driver.nowMs += 50;
  // A timer may come before what is to be read.
  driver.decide();
  late.answer(running, RUN_MS);
  driver.advance(3);
  expect(late.take("CANCEL")).toEqual([]);
  expect(other.jobs()).toEqual([]);
  expect(gateway.answers()).toMatchObject([{ request: 1 }]);
});

test("nothing is taken back that may not run twice, would be late all the same, or has no other worker", () => {
  for (const given of [
    { second: { flags: REQUEST_FLAGS.noRetry } },
    { second: { budgetUs: 25_000 } },
    { workers: 1 },
  ]) {
    const { driver, late, other } = scene(given);
    driver.advance(15);
    expect(late.take("CANCEL")).toEqual([]);
    expect(other.jobs()).toEqual([]);
  }
});

test("taken back from two workers that are lost it ends: it may have been what each of them ran", () => {
  const all = scene();
  const { driver, gateway, late, other } = all;
  driver.advance(1.2);
  expect(requestsOf(other.jobs())).toEqual([[2]]);
  other.leave();
  expect(gateway.answers()).toEqual([{ request: 2, attempt: 0, code: "worker_lost" }]);
  late.leave();
  driver.advance(10);
  expect(driver.core.openRequests).toBe(1);
});

test("whose first worker is lost runs alone from then on, and ends with the second", () => {
  const { driver, gateway, late, other } = scene();
  driver.advance(1.2);
  expect(requestsOf(other.jobs())).toEqual([[2]]);
  late.leave();
  other.leave();
  expect(gateway.answers()).toMatchObject([{ request: 2, code: "worker_lost" }]);
  expect(driver.core.openRequests).toBe(1);
});

function emptyResult({ batch }: Job): MessageOf<"RESULT"> {
  const times = { batchRows: 0, batchWaitUs: 0, computeUs: 0 };
  return { command: "RESULT", batch, worker: "w0", ...times, items: [], granted: 0 };
}

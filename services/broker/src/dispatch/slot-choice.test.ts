import { expect, test } from "vitest";
import { BrokerDriver, type FakeWorker, requestsOf } from "../testing/broker-driver.ts";
import { modelOf, modelsMessage } from "../testing/message-builders.ts";

/** What is assumed before anything was measured. */
const HAND_OVER_MS = 0.3;

test("among idle slots the one that has rested longest gets the batch", () => {
  const driver = new BrokerDriver();
  const [gateway, a, b] = [driver.gateway(), driver.worker("a"), driver.worker("b")];
  for (const [turn, worker] of [a, b, a, b].entries()) {
    gateway.submit([turn]);
    const [job] = worker.jobs();
    expect(requestsOf([job!])).toEqual([[turn]]);
    driver.advance(1);
    worker.answer(job!, 0.5);
  }
});

test("a batch is staged at the predicted end of the run before it less the hand-over, not earlier", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { curveMs: [[1, 20]] })];
  gateway.submit([1]);
  expect(requestsOf(worker.jobs())).toEqual([[1]]);
  gateway.submit([2]);
  driver.advance(10);
  gateway.submit([3]);
  driver.decide();
  expect(driver.core.wakeAtMs - driver.nowMs).toBeCloseTo(20 - 10, 6);
  // All that has come until then leaves together; a timer of a millisecond could not tell the rest.
  driver.advance(9);
  expect(requestsOf(worker.jobs())).toEqual([[2, 3]]);
});

test("the slot that is free first gets the batch", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  const [a, b] = [driver.worker("a", { curveMs: [[1, 50]] }), driver.worker("b", { curveMs: [[1, 50]] })];
  gateway.submit([1]);
  expect(requestsOf(a.jobs())).toEqual([[1]]);
  driver.advance(30);
  gateway.submit([2]);
  expect(requestsOf(b.jobs())).toEqual([[2]]);
  // 20 ms are left at the first.
  gateway.submit([3]);
  driver.advance(20);
  expect(b.jobs()).toEqual([]);
  expect(requestsOf(a.jobs())).toEqual([[3]]);
});

test("of workers of two kinds the one that would be done first gets the batch", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  const slow = driver.worker("slow", { curveMs: [[1, 50]], fingerprint: "slow" });
  const fast = driver.worker("fast", { curveMs: [[1, 10]], fingerprint: "fast" });
  gateway.submit([1]);
  expect([requestsOf(slow.jobs()), requestsOf(fast.jobs())]).toEqual([[], [[1]]]);
  gateway.submit([2]);
  driver.advance(10);
  expect([requestsOf(slow.jobs()), requestsOf(fast.jobs())]).toEqual([[], [[2]]]);
});

test("while nothing is known of a model's speed, nothing is staged", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  gateway.submit([1]);
  const [job] = worker.jobs();
  gateway.submit([2]);
  driver.advance(500);
  expect(worker.jobs()).toEqual([]);
  worker.answer(job!, 499);
  expect(requestsOf(worker.jobs())).toEqual([[2]]);
});

test("nothing more is staged behind a run that is late", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  const [hung, other] = [driver.worker("hung", { curveMs: [[1, 20]] }), driver.worker("other", { curveMs: [[1, 20]] })];
  gateway.submit([1]);
  expect(requestsOf(hung.jobs())).toEqual([[1]]);
  driver.advance(26);
  gateway.submit([2]);
  expect(requestsOf(other.jobs())).toEqual([[2]]);
  gateway.submit([3]);
  driver.advance(20);
  expect(hung.jobs()).toEqual([]);
  expect(requestsOf(other.jobs())).toEqual([[3]]);
});

test("the prediction starts anew when the run before it ends", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { curveMs: [[1, 20]] })];
  gateway.submit([1]);
  const [first] = worker.jobs();
  gateway.submit([2]);
  driver.advance(20);
  expect(requestsOf(worker.jobs())).toEqual([[2]]);
  driver.advance(4);
  worker.answer(first!, 20);
  gateway.submit([3]);
  driver.decide();
  expect(driver.core.wakeAtMs - driver.nowMs).toBeCloseTo(20 - HAND_OVER_MS, 0);
});

test("behind a very fast run a batch is staged at once, unless it is smaller and could still grow", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { curveMs: [[8, 0.4]] })];
  gateway.submit([1, 2, 3]);
  expect(requestsOf(worker.jobs())).toEqual([[1, 2, 3]]);
  gateway.submit([4, 5]);
  expect(worker.jobs()).toEqual([]);
  gateway.submit([6]);
  expect(requestsOf(worker.jobs())).toEqual([[4, 5, 6]]);
});

test("a saturating closed loop on a very fast model forms full batches", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { curveMs: [[8, 0.2]] })];
  const sizes: number[] = [];
  let number = 0;
  for (let client = 0; client < 32; client++) gateway.submit([++number]);
  let jobs = worker.jobs();
  for (let round = 0; round < 100; round++) {
    driver.advance(0.3);
    const job = jobs.shift();
    sizes.push(job!.items.length);
    worker.answer(job!, 0.2);
    // Answered clients come back one by one, each with a turn of its own.
    jobs.push(...worker.jobs());
    for (const _ of job!.items) {
      gateway.submit([++number]);
      jobs.push(...worker.jobs());
    }
  }
  expect(sizes.slice(10).every((size) => size === 8)).toBe(true);
});

test("a worker that is silent gets nothing new, until it is heard of again", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  worker.isSilent = true;
  driver.advance(1_600);
  gateway.submit([1]);
  expect(worker.jobs()).toEqual([]);
  worker.grantAnew(0);
  expect(requestsOf(worker.jobs())).toEqual([[1]]);
});

test("suspects get workers of their own, half of them at most while others wait, so that one loss does not hold up all", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  const workers = ["a", "b", "c", "d", "e"].map((name) => driver.worker(name, { curveMs: [[8, 100]] }));
  const firsts = workers.map((worker, i) => {
    gateway.submit(i < 4 ? [i] : [7, 8, 9]);
    const [job] = worker.jobs();
    return job!;
  });
  const [a, b, c, d, e] = workers as [FakeWorker, FakeWorker, FakeWorker, FakeWorker, FakeWorker];
  e.leave();
  gateway.submit([20]);
  driver.advance(100);
  // Two of the four are kept free for 7, 8 and 9; another takes what waits.
  expect([a, b, c, d].map((worker) => requestsOf(worker.jobs()))).toEqual([[], [], [[20]], []]);
  a.answer(firsts[0]!, 100);
  b.answer(firsts[1]!, 100);
  expect(requestsOf([...a.jobs(), ...b.jobs()])).toEqual([[7], [8]]);
  // Beside and behind them nothing is sent.
  gateway.submit([21]);
  driver.advance(100);
  expect([a, b, d].map((worker) => requestsOf(worker.jobs()))).toEqual([[], [], [[21]]]);
});

test("a model gets the slots that its worker has it in, and no others; what it has is those", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  const models = [modelOf("all"), modelOf("some")];
  const worker = driver.worker("w", { slots: 3, models });
  const list = modelsMessage(models);
  const announce = (slots: readonly number[]): void =>
    worker.say({ ...list, revision: 2, models: list.models.map((one, i) => (i === 0 ? one : { ...one, slots })) });
  announce([2]);
  driver.decide();
  const [all, some] = driver.core.models.all;
  expect([all!.slots, some!.slots]).toEqual([3, 1]);
  for (let number = 0; number < 4; number++) {
    gateway.submit([number], { route: some!.route });
    driver.advance(1);
  }
  const jobs = worker.jobs();
  expect(jobs.map(({ slot }) => slot)).toEqual([2]);
  worker.answer(jobs[0]!, 1);
  expect(worker.jobs().map(({ slot }) => slot)).toEqual([2]);
  // A slot that the worker does not have.
  announce([0, 3]);
  driver.decide();
  expect(some!.workers.size).toBe(0);
  announce([]);
  driver.decide();
  expect(some!.slots).toBe(3);
});

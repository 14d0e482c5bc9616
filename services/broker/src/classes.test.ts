import { expect, test } from "vitest";
import { BrokerDriver, requestsOf } from "./testing/broker-driver.ts";
import { modelOf } from "./testing/message-builders.ts";

/** 10 ms for one row, 17 ms for eight. */
const curveMs: [number, number][] = [
  [1, 10],
  [8, 17],
];
/** Nothing is held back for a larger batch. */
const models = [modelOf("m", { maxHoldMs: 0 })];

test("a class goes before deadlines; none given is the second", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { curveMs, models, credit: 1 })];
  gateway.submit([0]);
  const [first] = worker.jobs();
  for (const [request, priority] of [
    [1, 9],
    [2, 3],
    [3, 2],
    [4, 0],
    [5, 1],
  ] as const)
    gateway.submit([request], { priority, budgetUs: 500_000 + 1_000 * request });
  driver.advance(10);
  worker.answer(first!, 10);
  expect(requestsOf(worker.jobs())).toEqual([[5, 3, 4, 1, 2]]);
});

test("what would be late in the batch of a more urgent class has one of its own", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { curveMs, models, credit: 1 })];
  gateway.submit([0]);
  const [first] = worker.jobs();
  gateway.submit([1], { priority: 3, budgetUs: 20_900 });
  gateway.submit([2, 3], { priority: 1, budgetUs: 900_000 });
  gateway.submit([4], { priority: 2, budgetUs: 900_000 });
  driver.advance(10);
  worker.answer(first!, 10);
  expect(requestsOf(worker.jobs())).toEqual([[2, 3, 4]]);
  driver.advance(11);
  expect(gateway.answers()).toEqual([
    { request: 0, attempt: 0, code: "ok" },
    { request: 1, attempt: 0, code: "deadline_exceeded" },
  ]);
});

test("a less urgent class does not starve, whatever comes before it", () => {
  const driver = new BrokerDriver({ weights: { classes: [2, 1, 1], tenants: new Map() } });
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { curveMs, models, credit: 1 })];
  let next = 0;
  const urgent = (count: number): void =>
    gateway.submit(
      Array.from({ length: count }, () => next++),
      { priority: 1, budgetUs: 5_000_000 },
    );
  urgent(1);
  let [job] = worker.jobs();
  gateway.submit([1_000, 1_001], { priority: 3, budgetUs: 5_000_000 });
  let batches = 0;
  for (; !job!.items.some(({ request }) => request === 1_001); batches++) {
    urgent(10);
    driver.advance(17);
    worker.answer(job!, 17);
    [job] = worker.jobs();
  }
  // A quarter of eight rows is owed after the first batch.
  expect(batches).toBe(2);
});

import { expect, test } from "vitest";
import { BrokerDriver, requestsOf } from "../testing/broker-driver.ts";
import { modelOf } from "../testing/message-builders.ts";

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

test("where a bound is reached, a request takes the place of less urgent ones: of the least urgent class first, and of these the latest", () => {
  const driver = new BrokerDriver({ queueRowsMax: 4 });
  const gateway = driver.gateway();
  driver.worker("w", { models, credit: 0 });
  const shed = (): number[] => gateway.answers().flatMap(({ request, code }) => (code === "shed" ? [request] : []));
  const isFull = (): boolean => gateway.answers().every(({ code }) => code === "queue_full");
  for (const [request, priority] of [
    [1, 2],
    [2, 3],
    [3, 3],
    [4, 2],
  ] as const)
    gateway.submit([request], { priority });
  gateway.submit([5], { priority: 1 });
  expect(shed()).toEqual([3]);
  gateway.submit([10], { priority: 1, rows: 2 });
  expect(shed()).toEqual([2, 4]);
  gateway.submit([6], { priority: 2 });
  gateway.submit([7], { priority: 3 });
  expect(isFull()).toBe(true);
  gateway.submit([8], { priority: 1 });
  expect(shed()).toEqual([1]);
  gateway.submit([9], { priority: 1 });
  expect(isFull()).toBe(true);
  expect(driver.core.openRequests).toBe(3);
});

test("a request takes the places of 256 others at most, however much room it asks for", () => {
  const driver = new BrokerDriver({ queueBytesMax: 3_000 });
  const gateway = driver.gateway();
  driver.worker("w", { models, credit: 0 });
  const payload = Buffer.alloc(10);
  for (let request = 1; request <= 300; request++) gateway.submit([request], { priority: 3, payload });
  gateway.submit([1_000], { priority: 1, payload: Buffer.alloc(2_570) });
  expect(gateway.answers()).toMatchObject([{ request: 1_000, code: "queue_full" }]);
  gateway.submit([1_001], { priority: 1, payload: Buffer.alloc(2_560) });
  expect(gateway.answers()).toHaveLength(256);
});

import { expect, test } from "vitest";
import { BrokerDriver, type FakeGateway, type FakeWorker, requestsOf } from "../testing/broker-driver.ts";
import { modelOf } from "../testing/message-builders.ts";

/** A fast worker of 10 + n ms that runs a batch of eight, and a slow one of so many times that which is idle. */
function scene(slow: number): {
  readonly driver: BrokerDriver;
  readonly gateway: FakeGateway;
  readonly fast: FakeWorker;
  readonly slow: FakeWorker;
} {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  const models = [modelOf("m", { maxHoldMs: 0 })];
  const kind = (times: number): { curveMs: [number, number][]; fingerprint: string; models: typeof models } => ({
    curveMs: [1, 8].map((rows) => [rows, times * (10 + rows)]),
    fingerprint: `${times} times`,
    models,
  });
  const fast = driver.worker("fast", kind(1));
  const all = { driver, gateway, fast, slow: driver.worker("slow", kind(slow)) };
  gateway.submit([0, 1, 2, 3, 4, 5, 6, 7]);
  expect(fast.jobs()).toHaveLength(1);
  return all;
}

test("a slower slot takes, of a long queue, the least urgent that it is done with before the others are with the rest", () => {
  const { gateway, fast, slow } = scene(3);
  gateway.submit(Array.from({ length: 23 }, (_, i) => 10 + i));
  // 16 rows take the fast one 36 ms, after the 18 of its batch: as long as the slow one has to run seven, 51 ms.
  expect(requestsOf(slow.jobs())).toEqual([[26, 27, 28, 29, 30, 31, 32]]);
  expect(fast.jobs()).toEqual([]);
});

test("it takes no more than it is done with first, and none of a short queue", () => {
  const { gateway, slow } = scene(3);
  gateway.submit([10, 11]);
  // At the fast one they are done after 18 and 12 ms, before a single one is on the slow one.
  expect(slow.jobs()).toEqual([]);
  gateway.submit([12, 13, 14, 15, 16, 17]);
  // One is done there after 33 ms; two would be after 36, and the other six after 18 and 13.5.
  expect(requestsOf(slow.jobs())).toEqual([[17]]);
});

test("a slot of which nobody knows when it is free does not count, and spoils no sum", () => {
  const { driver, gateway, slow } = scene(3);
  const models = [modelOf("m", { maxHoldMs: 0 })];
  const fresh = driver.worker("fresh", { curveMs: [], fingerprint: "unknown", models });
  gateway.submit([100]);
  expect(requestsOf(fresh.jobs())).toEqual([[100]]);
  gateway.submit(Array.from({ length: 23 }, (_, i) => 10 + i));
  expect(requestsOf(slow.jobs())).toEqual([[26, 27, 28, 29, 30, 31, 32]]);
});

test("what would be late on the slower slot is left to the others", () => {
  const { gateway, slow } = scene(4);
  gateway.submit(
    Array.from({ length: 40 }, (_, i) => 10 + i),
    { budgetUs: 40_000 },
  );
  expect(slow.jobs()).toEqual([]);
});

test("a request that is too late for the slot that is free is given up, unless a faster one is free in time", () => {
  const { gateway, slow, fast, driver } = scene(4);
  // 44 ms on the slow one, 11 on the fast one, which is free in 18.
  gateway.submit([10], { budgetUs: 35_000 });
  driver.advance(1);
  expect([slow.jobs(), gateway.answers()]).toEqual([[], []]);
  driver.advance(17);
  expect(requestsOf(fast.jobs())).toEqual([[10]]);
});

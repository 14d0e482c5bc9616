import { expect, test } from "vitest";
import { AfterQueue } from "./after-queue.ts";

/** A call that ends when it is told to. */
function call(order: string[], name: string) {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { end: resolve, bytes: 10, run: () => (order.push(name), promise) };
}

test("so many run, so many wait in their order, and what is beyond is refused, by number and by bytes", async () => {
  const order: string[] = [];
  const queue = new AfterQueue({ runningMax: 1, waitingMax: 2, waitingBytesMax: 25 });
  const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => call(order, name)) as [
    ReturnType<typeof call>,
    ReturnType<typeof call>,
    ReturnType<typeof call>,
    ReturnType<typeof call>,
  ];
  expect([a, b, { ...c, bytes: 20 }, c, d].map((job) => queue.add(job))).toEqual([true, true, false, true, false]);
  expect(order).toEqual(["a"]);
  let isIdle = false;
  const idle = queue.idle().then(() => (isIdle = true));
  a.end();
  b.end();
  await new Promise(setImmediate);
  expect([order, isIdle]).toEqual([["a", "b", "c"], false]);
  c.end();
  await idle;
  expect(queue.add(d)).toBe(true);
});

test("a queue in which nothing runs is idle", async () => {
  await new AfterQueue({ runningMax: 1, waitingMax: 1, waitingBytesMax: 1 }).idle();
});

import type { MessageOf } from "@millrace/protocol";
import { expect, test } from "vitest";
import { BrokerDriver, type FakeGateway } from "../testing/broker-driver.ts";
import { helloMessage, resultItem, resultMessage } from "../testing/message-builders.ts";

const COUNTER = "broker/b0b0b0b0b0b0b0b0";

let asks = 0;

function askTotals(gateway: FakeGateway, entries: MessageOf<"TOTALS">["entries"] = []): MessageOf<"TOTALS"> {
  gateway.say({ command: "TOTALS", ask: ++asks, entries });
  const told = gateway.take("TOTALS");
  expect(told.map(({ ask }) => ask)).toEqual([asks]);
  return told[0]!;
}

test("every request is counted once, with its rows, its batch and its times; what is asked for is told at once", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  expect(askTotals(gateway).entries).toMatchObject([
    { counter: COUNTER, model: "m", version: "1", requests: 0, failures: 0, batches: 0, idleMs: 0 },
  ]);
  gateway.submit([1], { rows: 2 });
  gateway.submit([2, 3]);
  const [job] = worker.jobs();
  expect(job?.items).toHaveLength(3);
  driver.advance(10);
  worker.say({ ...resultMessage(job!, 4), batchWaitUs: 1_000, granted: ++worker.granted[0]! });
  expect(gateway.answers()).toMatchObject([{ code: "ok" }, { code: "ok" }, { code: "ok" }]);
  driver.advance(5);
  const times = { requestUs: 30_000, queueUs: 0, inputUs: 3_000, computeUs: 12_000, outputUs: 15_000, idleMs: 5 };
  expect(askTotals(gateway).entries).toMatchObject([{ requests: 3, failures: 0, rows: 4, batches: 1, ...times }]);
  gateway.submit([4]);
  const [staged] = worker.jobs();
  driver.advance(7);
  worker.handBack(staged!, false);
  const [again] = worker.jobs();
  driver.advance(1);
  worker.answer(again!, 1);
  // What was lost in the attempt that failed counts as waiting.
  expect(askTotals(gateway).entries).toMatchObject([{ requests: 4, batches: 2, requestUs: 38_000, queueUs: 7_000 }]);
});

test("whatever else becomes of a request is a failure", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  const failures = (): number => askTotals(gateway).entries[0]!.failures;
  gateway.submit([1], { rows: 100 });
  expect(failures()).toBe(1);
  gateway.submit([2]);
  const [job] = worker.jobs();
  gateway.submit([3]);
  gateway.cancel(3);
  expect(failures()).toBe(2);
  worker.say({ ...resultMessage(job!, 1, [resultItem(job!, 0, { code: 22 })]), granted: ++worker.granted[0]! });
  expect(failures()).toBe(3);
  driver.advance(0);
  for (const staged of worker.jobs()) worker.answer(staged);
  worker.leave();
  gateway.submit([4]);
  expect(failures()).toBe(4);
  expect(askTotals(gateway).entries).toMatchObject([{ requests: 0 }]);
});

test("what gateways have heard of other brokers is told to all, as it was the highest", () => {
  const driver = new BrokerDriver();
  const [a, b] = [driver.gateway("a"), driver.gateway("b")];
  driver.worker();
  const own = askTotals(a).entries;
  const other = { ...own[0]!, counter: "another/0", requests: 7, batches: 1, idleMs: 10 };
  askTotals(a, [other]);
  driver.advance(30);
  askTotals(b, [
    { ...other, requests: 6 },
    { ...own[0]!, requests: 1_000 },
  ]);
  expect(askTotals(b).entries).toMatchObject([
    { counter: COUNTER, requests: 0 },
    { counter: "another/0", requests: 7, batches: 1, idleMs: 10 },
  ]);
});

test("a session has the feature where its gateway has it", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  expect(gateway.take("WELCOME")).toMatchObject([{ features: [] }]);
  gateway.say(helloMessage("gateway", "gateway", { features: ["other", "totals"] }));
  expect(gateway.take("WELCOME")).toMatchObject([{ features: ["totals"] }]);
});

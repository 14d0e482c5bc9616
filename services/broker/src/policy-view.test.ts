import { expect, test } from "vitest";
import { GatewaySession } from "./gateway-session.ts";
import { ModelBook } from "./model-book.ts";
import { viewOf } from "./policy-view.ts";
import { createRequest } from "./request.ts";
import { BrokerDriver } from "./testing/broker-driver.ts";
import { helloMessage, modelOf, modelsMessage, submitItem } from "./testing/message-builders.ts";
import { WorkerSession } from "./worker-session.ts";

const stamp = { epoch: "0".repeat(16), seq: 1 };

test("a plan looks at the 95th percentile, and at the 99th while too many answers are late", () => {
  const book = new ModelBook();
  const worker = new WorkerSession({ peer: "w", instance: "w", stamp, content: helloMessage("worker", "w") }, 0);
  book.announce(worker, modelsMessage([modelOf("m")]).models);
  const model = book.byRoute(0)!;
  for (let i = 0; i < 64; i++) model.curve("", "kind").record(1, i === 0 ? 50 : 10);
  const gateway = new GatewaySession({ peer: "g", instance: "g", stamp }, 0);
  const head = createRequest({ gateway, model, item: submitItem(1) }, 0);
  model.backlog.push(head);
  expect(viewOf(head, worker.slots[0]!, 0).predict(1)).toMatchObject({ q50Ms: 10, q95Ms: 10 });
  model.lateShare.record(100, 10);
  expect(viewOf(head, worker.slots[0]!, 0).predict(1)).toMatchObject({ q50Ms: 10, q95Ms: 50 });
});

test("answers that come after the deadline of their requests raise the quantile; those in time let it down again", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { curveMs: [[8, 10]] })];
  const quantile = (): unknown =>
    (driver.core.models.describe() as { planned_quantile: unknown }[])[0]?.planned_quantile;
  const runOne = (request: number, tookMs: number): void => {
    gateway.submit([request], { rows: 8, budgetUs: 100_000 });
    const [job] = worker.jobs();
    driver.advance(tookMs);
    worker.answer(job!, 10);
    gateway.take("RESULT");
  };
  for (let request = 1; request <= 5; request++) runOne(request, 20);
  expect(quantile()).toBe(0.95);
  for (let request = 6; request <= 15; request++) runOne(request, 150);
  expect(quantile()).toBe(0.99);
  for (let request = 16; request <= 1_500; request++) runOne(request, 20);
  expect(quantile()).toBe(0.95);
});

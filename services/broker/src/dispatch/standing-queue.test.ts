import { expect, test } from "vitest";
import { BrokerDriver } from "../testing/broker-driver.ts";
import { modelOf } from "../testing/message-builders.ts";

test("a queue that is emptied by those who leave stands no longer: what comes next is no part of it", () => {
  const driver = new BrokerDriver({ looseBudgetMs: 10_000 });
  const gateway = driver.gateway();
  const models = [modelOf("m", { maxBatchSize: 2, maxHoldMs: 0 })];
  const curveMs: [number, number][] = [1, 2].map((rows) => [rows, 10]);
  const worker = driver.worker("w", { models, curveMs });
  const [model] = driver.core.models.all;
  const stands = (): boolean => model!.codels.some((codel) => codel.stands);
  const jobs = worker.jobs();
  let number = 0;
  for (let turn = 0; turn < 40; turn++) {
    gateway.submit([++number, ++number, ++number, ++number], { budgetUs: 30_000_000 });
    jobs.push(...worker.jobs());
    driver.advance(10);
    worker.answer(jobs.shift()!, 10);
    jobs.push(...worker.jobs());
  }
  expect(stands()).toBe(true);
  gateway.leave();
  driver.decide();
  expect(model!.backlog.rows).toBe(0);
  expect(stands()).toBe(false);
  expect(model!.backlog.ofClass(1).newestFirst).toBe(false);
});

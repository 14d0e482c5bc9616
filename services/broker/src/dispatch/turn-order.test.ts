import { expect, test } from "vitest";
import { BrokerDriver, type FakeWorker } from "../testing/broker-driver.ts";
import { modelOf } from "../testing/message-builders.ts";

const RUN_MS = 10;

/** Keeps so many requests of each model waiting, and a run on each worker, for a hundred runs; returns the runs of each route. */
function saturate(driver: BrokerDriver, workers: readonly FakeWorker[], budgetsMs: readonly number[]): number[] {
  const gateway = driver.gateway();
  const runs = budgetsMs.map(() => 0);
  let number = 0;
  for (let round = 0; round < 100; round++) {
    // Twice what they could have, were each alone.
    for (const [route, budgetMs] of budgetsMs.entries())
      gateway.submit([++number, ++number], { route, budgetUs: budgetMs * 1_000 });
    for (const worker of workers) {
      for (const job of worker.jobs()) {
        runs[worker === workers[0] ? 0 : job.model + 1]!++;
        driver.advance(RUN_MS / workers.length);
        worker.answer(job, RUN_MS);
      }
    }
  }
  return runs;
}

test("models share slots by what they had of these, however far one has got that is elsewhere", () => {
  const driver = new BrokerDriver();
  const model = (name: string) => modelOf(name, { maxBatchSize: 1, maxHoldMs: 0 });
  const curveMs: [number, number][] = [[1, RUN_MS]];
  const elsewhere = driver.worker("elsewhere", { models: [model("m")], credit: 1, curveMs });
  const shared = driver.worker("shared", { models: [model("n"), model("o")], credit: 1, curveMs });
  const [, urgent, patient] = saturate(driver, [elsewhere, shared], [60_000, 1_000, 60_000]);
  expect(Math.abs(urgent! - patient!)).toBeLessThanOrEqual(2);
});

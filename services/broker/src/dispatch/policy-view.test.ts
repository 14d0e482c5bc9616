import { expect, test } from "vitest";
import { GatewaySession } from "../sessions/gateway-session.ts";
import { ModelBook } from "../models/model-book.ts";
import { viewOf } from "./policy-view.ts";
import { createRequest } from "./request.ts";
import { BrokerDriver } from "../testing/broker-driver.ts";
import { helloMessage, modelOf, modelsMessage, submitItem } from "../testing/message-builders.ts";
import { WorkerSession } from "../sessions/worker-session.ts";

const stamp = { epoch: "0".repeat(16), seq: 1 };

test("a plan aims before the deadline by the margin, at most a tenth of the budget", () => {
  const book = new ModelBook();
  const worker = new WorkerSession({ peer: "w", instance: "w", stamp, content: helloMessage("worker", "w") }, 0);
  book.announce(worker, modelsMessage([modelOf("m", { sloMs: 1_000 })]).models);
  const model = book.byRoute(0)!;
  const gateway = new GatewaySession({ peer: "g", instance: "g", stamp }, 0);
  const head = createRequest({ gateway, model, item: submitItem(1, { budgetUs: 5_000_000 }) }, 0);
  model.backlog.push(head);
  const view = (): unknown => viewOf(head, worker.slots[0]!, 0);
  expect(view()).toMatchObject({ headDeadlineMs: 5_000, headAimMs: 1_000, marginMs: 0 });
  for (let i = 0; i < 100; i++) model.lateMargin.record(40, 1e6);
  expect(view()).toMatchObject({ headDeadlineMs: 5_000, headAimMs: 1_000, marginMs: 40 });
  for (let i = 0; i < 256; i++) model.lateMargin.record(400, 1e6);
  expect(view()).toMatchObject({ headDeadlineMs: 5_000, headAimMs: 1_000, marginMs: 100 });
});

test("answers later than planned raise the margin, and the door asks for it too; those that were never to be in time do not count", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { curveMs: [[8, 10]] })];
  const marginMs = (): number => (driver.core.models.describe() as { margin_ms: number }[])[0]!.margin_ms;
  let request = 0;
  const runOne = (tookMs: number, budgetMs: number): void => {
    gateway.submit([++request], { rows: 8, budgetUs: 1000 * budgetMs });
    const [job] = worker.jobs();
    driver.advance(tookMs);
    worker.answer(job!, 10);
    gateway.take("RESULT");
  };
  // Behind one that runs it would be back after 20 ms and the way.
  const codeBehindAnother = (budgetMs: number): string | undefined => {
    gateway.submit([++request], { rows: 8, budgetUs: 1e6 });
    const [running] = worker.jobs();
    gateway.submit([++request], { rows: 8, budgetUs: 1000 * budgetMs });
    const code = gateway.answers()[0]?.code;
    driver.advance(10);
    worker.answer(running!, 10);
    for (const job of worker.jobs()) {
      driver.advance(10);
      worker.answer(job, 10);
    }
    gateway.answers();
    return code;
  };
  for (let i = 0; i < 20; i++) runOne(10.3, 100);
  expect(marginMs()).toBeLessThan(0.5);
  expect(codeBehindAnother(22)).toBeUndefined();
  const model = driver.core.models.byRoute(0)!;
  for (let i = 0; i < 256; i++) model.lateMargin.record(2, 1e6);
  expect(codeBehindAnother(22)).toBe("shed");
  const turnedAway = model.decisions.latest(4, driver.nowMs).filter(({ decision }) => decision === "refused");
  expect(turnedAway).toMatchObject([{ why: "late" }]);
  for (let i = 0; i < 20; i++) runOne(30, 500);
  expect(marginMs()).toBeGreaterThan(10);
  const beforeMs = marginMs();
  for (let i = 0; i < 40; i++) {
    driver.advance(2_000);
    runOne(60, 9);
  }
  expect(marginMs()).toBe(beforeMs);
});

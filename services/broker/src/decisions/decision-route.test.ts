import { AdminFault } from "@millrace/runtime";
import { expect, test } from "vitest";
import { decisionsOf, type DecisionsView } from "./decision-route.ts";
import { BrokerDriver } from "../testing/broker-driver.ts";
import { modelOf } from "../testing/message-builders.ts";

const GPU: [number, number][] = [
  [1, 40],
  [8, 40.7],
];

function ask(driver: BrokerDriver, query: string): DecisionsView {
  driver.decide();
  return decisionsOf(driver.core.models, new URLSearchParams(query), driver.nowMs);
}

test("each decision of the broker is told with its reason: sent, held, and how the run compared with its prediction", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { curveMs: GPU, slots: 2 })];
  gateway.submit([1]);
  const [first] = worker.jobs();
  for (const number of [2, 3]) {
    driver.advance(4);
    gateway.submit([number]);
  }
  expect(ask(driver, "model=m").decisions).toMatchObject([
    { decision: "held", why: "pace", waiting_rows: 2, ago_ms: 0 },
    {
      decision: "sent",
      why: "idle",
      bound: "waiting",
      worker: "w",
      slot: 0,
      batch: 1,
      rows: 1,
      ago_ms: 8,
      predicted_ms: 40,
    },
  ]);
  driver.advance(20);
  worker.answer(first!, 26);
  expect(ask(driver, "model=m").decisions).toMatchObject([
    { decision: "sent", why: "paced", rows: 2, requests: 2, slot: 1 },
    { decision: "held" },
    { batch: 1, ended: "answered", compute_ms: 26, start_ms: 0.3, late_ms: -12.3 },
  ]);
  expect(ask(driver, "model=m&limit=1").decisions).toHaveLength(1);
});

test("what is not served is told, too: refused, shed, expired, handed back, lost, run again", () => {
  const driver = new BrokerDriver({ queueRowsMax: 2 });
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { curveMs: [[1, 10]], credit: 0 })];
  gateway.submit([1, 2, 3, 4], { budgetUs: 30_000 });
  driver.decide();
  expect(ask(driver, "model=m").decisions).toMatchObject([{ decision: "refused", why: "rows_full", count: 2 }]);
  driver.advance(31);
  expect(ask(driver, "model=m").decisions[0]).toMatchObject({
    decision: "expired",
    why: "in_queue",
    count: 2,
    slack_ms: 0,
  });
  worker.grantAnew(0);
  gateway.submit([5]);
  const [job] = worker.jobs();
  worker.handBack(job!, false);
  expect(worker.jobs()).toHaveLength(1);
  worker.leave();
  expect(ask(driver, "model=m").decisions[1]).toMatchObject({ decision: "sent", ended: "handed_back" });
  expect(ask(driver, "model=m").decisions[0]).toMatchObject({ decision: "sent", ended: "lost" });
  const other = driver.worker("other", { curveMs: [[1, 10]] });
  const [alone] = other.jobs();
  expect(ask(driver, "model=m").decisions[0]).toMatchObject({ decision: "sent", why: "suspect", worker: "other" });
  other.answer(alone!, 10);
  gateway.submit([6], { budgetUs: 2_000 });
  expect(ask(driver, "model=m").decisions[0]).toMatchObject({ decision: "shed", why: "hopeless", count: 1 });
});

test("without a version it is the default one; a version by name", () => {
  const driver = new BrokerDriver();
  const models = ["1", "2"].map((version) => modelOf("m", { version }));
  driver.worker("w", { models });
  driver.gateway().submit([1], { route: 0 });
  expect(ask(driver, "model=m")).toEqual({ model: "m", version: "2", decisions: [] });
  expect(ask(driver, "model=m&version=1").decisions).toHaveLength(1);
});

test.for([
  ["", 400, "say which"],
  ["model=", 400, "say which"],
  ["model=m&limit=0", 400, "1 to 1024"],
  ["model=m&limit=1025", 400, "1 to 1024"],
  ["model=m&limit=1e3", 400, "1 to 1024"],
  ["model=m&limit=%0A1", 400, "1 to 1024"],
  ["model=m&model=n", 400, "twice"],
  [`model=m&${"x".repeat(900)}=1`, 400, "unknown key"],
  ["model=nobody", 404, "no such model"],
  ["model=m&version=9", 404, "no such model"],
  ["model=__proto__", 404, "no such model"],
] as const)("%s is answered %d", ([query, status, text]) => {
  const driver = new BrokerDriver();
  driver.worker();
  let fault: unknown;
  try {
    ask(driver, query);
  } catch (error) {
    fault = error;
  }
  expect(fault).toBeInstanceOf(AdminFault);
  expect(fault).toMatchObject({ status, message: expect.stringContaining(text) as string });
  expect((fault as AdminFault).message.length).toBeLessThan(200);
});

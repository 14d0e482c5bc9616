import { ERROR_CODES, type MessageOf } from "@millrace/protocol";
import { expect, test } from "vitest";
import { BrokerDriver, requestsOf } from "./testing/broker-driver.ts";
import {
  creditMessage,
  helloMessage,
  modelOf,
  modelsMessage,
  pingMessage,
  resultMessage,
} from "./testing/message-builders.ts";

/** Ready workers of each model, as a gateway was told last. */
function served(routes: MessageOf<"ROUTES">[]): [name: string, workers: number][] {
  return (routes.at(-1)?.models ?? []).map(({ model, workers }) => [model.name, workers]);
}

test("HELLO opens a session, with the models for a gateway; a repeated one greets it again without a second account", () => {
  const driver = new BrokerDriver();
  const worker = driver.worker();
  const gateway = driver.gateway();
  expect(gateway.take("WELCOME")).toHaveLength(1);
  expect(served(gateway.take("ROUTES"))).toEqual([["m", 1]]);
  expect(gateway.seqs.slice(0, 2)).toEqual([1, 2]);
  gateway.submit([1]);
  gateway.say(helloMessage("gateway", "gateway"));
  worker.say(helloMessage("worker", "worker"));
  expect(gateway.take("WELCOME")).toHaveLength(1);
  const [job] = worker.jobs();
  worker.answer(job!);
  expect(gateway.answers()).toEqual([{ request: 1, attempt: 0, code: "ok" }]);
  expect(driver.core.describeSessions()).toMatchObject({ gateways: [{ open: 0 }], workers: [{ bytes_out: 0 }] });
});

test("HELLO of the wrong role, or with slots out of range, opens nothing", () => {
  const driver = new BrokerDriver({ slotsMax: 4 });
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  gateway.leave();
  worker.leave();
  gateway.say(helloMessage("worker", "w"));
  worker.say(helloMessage("gateway", "g"));
  worker.say(helloMessage("worker", "w", { slots: 0 }));
  expect(gateway.take("ERROR").map(({ text }) => text)).toEqual(["this port is for gateways"]);
  expect(worker.take("ERROR").map(({ text }) => text)).toEqual([
    "this port is for workers",
    "slots must be 1 to 4, not 0",
  ]);
  worker.say(helloMessage("worker", "w", { slots: 5 }));
  expect(worker.errors()).toEqual(["invalid_request"]);
  expect(driver.core.describeSessions()).toEqual({ gateways: [], workers: [] });
});

test("without a session nothing is taken, and errors are answered three times in ten seconds", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  gateway.leave();
  for (let i = 0; i < 9; i++) gateway.submit([i]);
  expect(gateway.errors()).toEqual(["not_registered", "not_registered", "not_registered"]);
  expect(driver.core.openRequests).toBe(0);
  driver.advance(10_100);
  gateway.submit([1]);
  expect(gateway.errors()).toEqual(["not_registered"]);
});

test("what is still read of a connection that is gone is answered no more often, however often each answer finds nobody", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  for (let i = 0; i < 9; i++) {
    gateway.leave();
    gateway.submit([i]);
  }
  expect(gateway.errors()).toEqual(["not_registered", "not_registered", "not_registered"]);
});

test("a gap in the sequence ends the session: a gateway's requests are forgotten, a worker's run again elsewhere", () => {
  const driver = new BrokerDriver();
  const [gateway, a] = [driver.gateway(), driver.worker("a")];
  gateway.submit([1]);
  a.jobs();
  a.seq++;
  a.say(creditMessage([9]));
  expect(a.errors()).toEqual(["not_registered"]);
  expect(driver.core.describeSessions().workers).toEqual([]);
  const b = driver.worker("b");
  expect(requestsOf(b.jobs())).toEqual([[1]]);
  gateway.seq++;
  gateway.submit([2]);
  expect(gateway.errors()).toEqual(["not_registered"]);
  expect(b.take("CANCEL")).toHaveLength(1);
  expect(driver.core.openRequests).toBe(0);
});

test("the same process on a new connection ends the old session, and what comes over the old one counts no more", () => {
  const driver = new BrokerDriver();
  const [gateway, old] = [driver.gateway(), driver.worker("w", { credit: 9 })];
  gateway.submit([1]);
  const [job] = old.jobs();
  const again = driver.worker("w", { credit: 1 });
  expect(requestsOf(again.jobs())).toEqual([[1]]);
  old.answer(job!);
  expect(gateway.answers()).toEqual([]);
  expect(old.errors()).toEqual(["not_registered"]);
  expect(driver.core.describeSessions().workers).toMatchObject([{ slots: [{ granted: 1, dispatched: 1 }] }]);
});

test("of two live processes of one name the first keeps it; the second is refused, and gets it once the first is silent", () => {
  const driver = new BrokerDriver();
  const [first, second] = [driver.worker("w"), driver.worker("v")];
  second.leave();
  second.isSilent = true;
  const warnings = (): number => {
    driver.core.decide(driver.nowMs);
    const actions = driver.core.actions();
    const isWarning = /names must be unique/;
    return actions.filter((it) => it.type === "log" && it.level === "warn" && isWarning.test(it.text)).length;
  };
  second.say(helloMessage("worker", "w"));
  expect(warnings()).toBe(1);
  second.say(helloMessage("worker", "w"));
  expect(warnings()).toBe(0);
  second.say(helloMessage("worker", "w"));
  expect(second.errors()).toEqual(["invalid_request"]);
  expect(driver.core.describeSessions().workers).toMatchObject([{ instance: "w", state: "active" }]);
  first.isSilent = true;
  driver.advance(1_600);
  second.say(helloMessage("worker", "w"));
  expect([second.take("WELCOME").length, driver.core.describeSessions().workers.length]).toEqual([1, 1]);
  first.say(pingMessage());
  expect(first.errors()).toEqual(["not_registered"]);
});

test("another incarnation on the same connection starts with a clean account", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w")];
  gateway.submit([1]);
  worker.jobs();
  worker.epoch = "ffffffffffffffff";
  worker.seq = 0;
  worker.say(helloMessage("worker", "w"));
  expect(worker.jobs()).toEqual([]);
  expect(driver.core.describeSessions().workers).toMatchObject([{ slots: [{ granted: 0, dispatched: 0, out: 0 }] }]);
});

test("a peer that says nothing for three seconds is lost", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  gateway.submit([1], { budgetUs: 10_000_000 });
  worker.jobs();
  worker.isSilent = true;
  driver.advance(2_900);
  expect(driver.core.describeSessions().workers).toMatchObject([{ state: "suspect" }]);
  driver.advance(200);
  expect(driver.core.describeSessions().workers).toEqual([]);
  expect(served(gateway.take("ROUTES"))).toEqual([["m", 0]]);
  expect(requestsOf(driver.worker().jobs())).toEqual([[1]]);
});

test("a worker that drains gets nothing new, whatever it announces, and what it hands back goes to another", () => {
  const driver = new BrokerDriver();
  const [gateway, a] = [driver.gateway(), driver.worker("a", { curveMs: [[8, 0.4]] })];
  gateway.submit([1]);
  const [running] = a.jobs();
  gateway.submit([2, 3]);
  const [staged] = a.jobs();
  a.say({ command: "DRAIN", reason: "test", graceMs: 0 });
  a.say(modelsMessage([modelOf("m")]));
  expect(a.take("DRAINED")).toHaveLength(1);
  expect(served(gateway.take("ROUTES"))).toEqual([["m", 0]]);
  const b = driver.worker("b");
  a.handBack(staged!, false);
  expect(requestsOf(b.jobs())).toEqual([[2, 3]]);
  a.answer(running!);
  gateway.submit([4]);
  expect(a.jobs()).toEqual([]);
  a.say({ command: "GOODBYE", reason: "done", graceMs: 0 });
  expect(driver.core.describeSessions().workers).toMatchObject([{ instance: "b" }]);
  expect(gateway.answers()).toEqual([{ request: 1, attempt: 0, code: "ok" }]);
});

test("a gateway that drains gets its answers, and takes its leave", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  gateway.submit([1]);
  gateway.say({ command: "DRAIN", reason: "test", graceMs: 0 });
  expect(gateway.take("DRAINED")).toHaveLength(1);
  worker.answer(worker.jobs()[0]!);
  expect(gateway.answers()).toHaveLength(1);
  gateway.say({ command: "GOODBYE", reason: "done", graceMs: 0 });
  expect(driver.core.describeSessions().gateways).toEqual([]);
});

test("a broker that drains refuses what is new, finishes what it has, says goodbye, and then takes nothing more", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { credit: 1 })];
  gateway.submit([1]);
  const [job] = worker.jobs();
  gateway.submit([2]);
  driver.handle({ type: "drain", reason: "test" });
  driver.handle({ type: "drain", reason: "again" });
  expect(gateway.take("DRAIN")).toMatchObject([{ reason: "test" }]);
  gateway.submit([2, 3]);
  expect(gateway.answers()).toEqual([{ request: 3, attempt: 0, code: "draining" }]);
  const late = driver.gateway("late");
  expect(late.take("DRAIN")).toHaveLength(1);
  worker.answer(job!);
  worker.answer(worker.jobs()[0]!);
  expect(gateway.answers().map(({ request }) => request)).toEqual([1, 2]);
  expect(driver.core.state).toBe("drained");
  for (const peer of [gateway, late, worker]) expect(peer.take("GOODBYE")).toHaveLength(1);
  const tooLate = driver.gateway("too late");
  expect(tooLate.take("WELCOME")).toEqual([]);
});

test("an idle broker drains at once", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  driver.handle({ type: "drain", reason: "test" });
  expect(gateway.take("GOODBYE")).toHaveLength(1);
  expect(driver.core.state).toBe("drained");
});

test("who says goodbye has left; of whoever goes without a word there is a warning", () => {
  const driver = new BrokerDriver();
  const [left, lost, worker] = [driver.gateway("left"), driver.gateway("lost"), driver.worker("w")];
  driver.core.actions();
  left.say({ command: "GOODBYE", reason: "done", graceMs: 0 });
  lost.leave();
  worker.leave();
  const logged = driver.core.actions().filter((action) => action.type === "log");
  expect(logged.map(({ level, text, fields }) => `${level}: ${text} ${fields["instance"]}`)).toEqual([
    "info: gateway gone left",
    "warn: gateway gone lost",
    "warn: worker gone w",
  ]);
});

test("a message that cannot be read ends the session; a command that need not be understood is passed over", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  const unreadable = { type: "unreadable", side: "gateway", peer: gateway.peer, fault: "what is this?" } as const;
  driver.handle({ ...unreadable, code: undefined, seq: ++gateway.seq });
  gateway.say(pingMessage());
  expect(gateway.take("PONG")).toHaveLength(1);
  driver.handle({ ...unreadable, code: "malformed_message", seq: ++gateway.seq });
  expect(gateway.take("ERROR")).toMatchObject([
    { code: ERROR_CODES.malformed_message.number, seq: gateway.seq, text: "what is this?" },
  ]);
  expect(driver.core.describeSessions().gateways).toEqual([]);
});

test("a command of the other role is refused and changes nothing", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker()];
  gateway.submit([1]);
  const [job] = worker.jobs();
  gateway.say(resultMessage(job!, 1));
  worker.say({ command: "SUBMIT", items: [] });
  expect(gateway.errors()).toEqual(["unsupported"]);
  expect(worker.errors()).toEqual(["unsupported"]);
  worker.answer(job!);
  expect(gateway.answers()).toHaveLength(1);
});

test("gateways hear of every change of who serves what, once a turn", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  driver.decide();
  gateway.take("ROUTES");
  const [a, b] = [driver.worker("a"), driver.worker("b", { models: [modelOf("m"), modelOf("n")] })];
  const told = gateway.take("ROUTES");
  expect(told).toHaveLength(1);
  expect(served(told)).toEqual([
    ["m", 2],
    ["n", 1],
  ]);
  a.leave();
  expect(served(gateway.take("ROUTES"))).toEqual([
    ["m", 1],
    ["n", 1],
  ]);
  b.leave();
  expect(served(gateway.take("ROUTES"))).toEqual([
    ["m", 0],
    ["n", 0],
  ]);
});

test("PING is answered with the load, and a worker's also repeats its credit", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { credit: 0 })];
  gateway.submit([1], { rows: 3 });
  gateway.say(pingMessage());
  expect(gateway.take("PONG")).toMatchObject([{ ping: 1, queuedRows: 3 }]);
  worker.say(pingMessage([1]));
  expect(requestsOf(worker.jobs())).toEqual([[1]]);
});

import { expect, test } from "vitest";
import { Lifecycle, type ProcessHost, runUntilSignal } from "./lifecycle.ts";

const QUIET = { info: () => {}, error: () => {} };

function fakeProcess(channel: { send?: unknown; connected?: boolean } = {}): ProcessHost & {
  emit(event: string): void;
  codes: number[];
} {
  const listeners = new Map<string, () => void>();
  const codes: number[] = [];
  return {
    ...channel,
    codes,
    on: (event, listener) => listeners.set(event, listener),
    exit: (code) => codes.push(code),
    emit: (event) => listeners.get(event)?.(),
  };
}

test("drains the last registered part first, once", async () => {
  const lifecycle = new Lifecycle();
  const order: string[] = [];
  lifecycle.onDrain(async (reason) => {
    await Promise.resolve();
    order.push(`first made, ${reason}, ${lifecycle.state}`);
  });
  lifecycle.onDrain(() => void order.push("last made"));
  expect(lifecycle.state).toBe("starting");
  lifecycle.becomeReady();
  expect(lifecycle.state).toBe("ready");
  const drained = lifecycle.drain("test");
  expect(lifecycle.drain("again")).toBe(drained);
  expect(await drained).toEqual([]);
  expect(order).toEqual(["last made", "first made, test, draining"]);
  expect(lifecycle.state).toBe("stopped");
});

test("a failing part does not stop the others, and a late part is ended at once", async () => {
  const lifecycle = new Lifecycle();
  const ended: string[] = [];
  lifecycle.onDrain(() => void ended.push("good"));
  lifecycle.onDrain(() => {
    lifecycle.onDrain(() => void ended.push("late"));
    throw new Error("bad");
  });
  expect(await lifecycle.drain("test")).toEqual([new Error("bad")]);
  expect(ended).toEqual(["late", "good"]);
  lifecycle.becomeReady();
  expect(lifecycle.state).toBe("stopped");
});

test.each(["SIGTERM", "SIGINT", "disconnect"])("%s drains and exits with 0", async (event) => {
  const host = fakeProcess({ send: () => {}, connected: true });
  const lifecycle = new Lifecycle();
  const run = runUntilSignal({ lifecycle, logger: QUIET, drainGraceMs: 10_000, host });
  host.emit(event);
  await run;
  expect(host.codes).toEqual([0]);
});

test("a parent that died before anyone listened drains too", async () => {
  const host = fakeProcess({ send: () => {}, connected: false });
  await runUntilSignal({ lifecycle: new Lifecycle(), logger: QUIET, drainGraceMs: 10_000, host });
  expect(host.codes).toEqual([0]);
});

test("the second signal exits at once with its own code", async () => {
  const host = fakeProcess();
  const lifecycle = new Lifecycle();
  lifecycle.onDrain(() => new Promise(() => {}));
  const run = runUntilSignal({ lifecycle, logger: QUIET, drainGraceMs: 60_000, host });
  host.emit("SIGTERM");
  host.emit("SIGINT");
  await run;
  expect(host.codes).toEqual([130]);
});

test("a drain beyond its grace exits with 1 and says what was left", async () => {
  const host = fakeProcess();
  const lifecycle = new Lifecycle();
  const errors: object[] = [];
  lifecycle.onDrain(() => new Promise(() => {}));
  const logger = { ...QUIET, error: (fields: object) => void errors.push(fields) };
  const run = runUntilSignal({ lifecycle, logger, drainGraceMs: 1, left: () => "3 requests", host });
  host.emit("SIGTERM");
  await run;
  expect(host.codes).toEqual([1]);
  expect(errors).toMatchObject([{ left: "3 requests" }]);
});

test("a part that fails to drain makes the exit code 1", async () => {
  const host = fakeProcess();
  const lifecycle = new Lifecycle();
  lifecycle.onDrain(() => Promise.reject(new Error("bad")));
  const run = runUntilSignal({ lifecycle, logger: QUIET, drainGraceMs: 10_000, host });
  host.emit("SIGTERM");
  await run;
  expect(host.codes).toEqual([1]);
});

import { expect, test } from "vitest";
import {
  type ChildAction,
  type ChildEvent,
  type ChildState,
  INITIAL_CHILD_STATE,
  reduceChild,
  RESTART,
} from "./child-lifecycle.ts";

const DUE: ChildEvent = { type: "due" };
const REPORTED: ChildEvent = { type: "reported" };
const CRASHED: ChildEvent = { type: "exited", code: null, signal: "SIGSEGV", problem: "" };

/** Plays events at given times and returns the last state and every action but log lines. */
function play(...events: [number, ChildEvent][]): { state: ChildState; actions: ChildAction[] } {
  let state = INITIAL_CHILD_STATE;
  const actions: ChildAction[] = [];
  for (const [nowMs, event] of events) {
    const step = reduceChild(state, event, nowMs);
    state = step.state;
    actions.push(...step.actions.filter((action) => action.type !== "log"));
  }
  return { state, actions };
}

test("starts, reports, drains, stops", () => {
  const { state, actions } = play(
    [0, DUE],
    [5, REPORTED],
    [9, { type: "drain" }],
    [12, { type: "exited", code: 0, signal: null, problem: "" }],
  );
  expect(state).toEqual({ kind: "stopped" });
  expect(actions).toEqual([
    { type: "spawn" },
    { type: "firstReady" },
    { type: "signal", signal: "SIGTERM" },
    { type: "ended" },
  ]);
});

test("a crash of a ready child is never given up, and its back-off doubles up to the bound", () => {
  const events: [number, ChildEvent][] = [
    [0, DUE],
    [1, REPORTED],
  ];
  for (let crash = 0; crash < 10; crash += 1) events.push([2, CRASHED], [3, DUE]);
  const { state, actions } = play(...events);
  const waits = actions.flatMap((action) => (action.type === "wait" ? [action.afterMs] : []));
  expect(waits).toEqual([100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000]);
  expect(state).toMatchObject({ kind: "starting", crashes: 10, everReady: true });
});

test("a stable life clears the count of crashes", () => {
  const { state } = play(
    [0, DUE],
    [1, REPORTED],
    [2, CRASHED],
    [3, DUE],
    [4, CRASHED],
    [5, DUE],
    [6, REPORTED],
    [5 + RESTART.stableMs, CRASHED],
  );
  expect(state).toEqual({ kind: "backoff", crashes: 1, everReady: true });
});

test("a child that takes long to die while it starts is given up, too, and its back-off grows", () => {
  const long = RESTART.stableMs;
  const { state, actions } = play(
    [0, DUE],
    [long, CRASHED],
    [long, DUE],
    [2 * long, CRASHED],
    [2 * long, DUE],
    [3 * long, CRASHED],
  );
  expect(state).toEqual({ kind: "stopped" });
  expect(actions.flatMap((action) => (action.type === "wait" ? [action.afterMs] : []))).toEqual([100, 200]);
});

test("readiness is announced once", () => {
  const { actions } = play([0, DUE], [1, REPORTED], [1, REPORTED], [2, CRASHED], [3, DUE], [4, REPORTED]);
  expect(actions.filter((action) => action.type === "firstReady")).toHaveLength(1);
});

test("a child that was never ready is given up at the third crash", () => {
  const { state, actions } = play([0, DUE], [1, CRASHED], [2, DUE], [3, CRASHED], [4, DUE], [5, CRASHED]);
  expect(state).toEqual({ kind: "stopped" });
  expect(actions.at(-2)).toEqual({
    type: "giveUp",
    reason: "was ended by SIGSEGV after 0.00 s (3 times in a row) and was never ready",
  });
});

test("wrong options are given up at once", () => {
  const { state, actions } = play([0, DUE], [1, { type: "exited", code: 2, signal: null, problem: "" }]);
  expect(state).toEqual({ kind: "stopped" });
  expect(actions.map((action) => action.type)).toEqual(["spawn", "giveUp", "ended"]);
});

test("a drain during back-off stops at once; the timer that fires later does nothing", () => {
  const { state, actions } = play([0, DUE], [1, CRASHED], [2, { type: "drain" }], [3, DUE]);
  expect(state).toEqual({ kind: "stopped" });
  expect(actions.slice(-2)).toEqual([{ type: "cancelWait" }, { type: "ended" }]);
});

test("kill overtakes a drain, and repeats do no harm", () => {
  const drained: [number, ChildEvent][] = [
    [0, DUE],
    [1, { type: "drain" }],
    [1, { type: "drain" }],
    [1, REPORTED],
    [2, { type: "kill" }],
    [2, { type: "kill" }],
  ];
  const { state, actions } = play(...drained);
  expect(state).toEqual({ kind: "draining" });
  expect(actions.slice(1)).toEqual([
    { type: "signal", signal: "SIGTERM" },
    { type: "signal", signal: "SIGKILL" },
    { type: "signal", signal: "SIGKILL" },
  ]);
  expect(play(...drained, [3, CRASHED], [4, CRASHED]).state).toEqual({ kind: "stopped" });
});

test("says what happened", () => {
  const starting: ChildState = { kind: "ready", crashes: 0, everReady: true, spawnedMs: 0 };
  const { actions } = reduceChild(starting, { type: "exited", code: 1, signal: null, problem: "" }, 12_340);
  expect(actions[0]).toEqual({
    type: "log",
    level: "error",
    message: "ended with exit code 1 after 12 s; starting it again in 100 ms",
  });
});

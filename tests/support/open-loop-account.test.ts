import { expect, test } from "vitest";
import { OpenLoopAccount, outcomeOf } from "./open-loop-account.ts";

test.each([
  [200, 10, "attained"],
  [200, 10.001, "late"],
  [429, 1, "shed"],
  [503, 1, "shed"],
  [504, 10, "shed"],
  [500, 1, "failed"],
  [404, 1, "failed"],
  [undefined, 1, "failed"],
] as const)("status %s after %d ms of 10 is %s", (status, latencyMs, outcome) => {
  expect(outcomeOf(status, latencyMs, 10)).toBe(outcome);
});

test("what is not a 200 in time is a miss, and each kind is counted where it belongs", () => {
  const account = new OpenLoopAccount(10);
  for (const lagMs of [0, 0, 0, 5]) account.sent(lagMs);
  account.ended({ dueMs: 0, status: 200, latencyMs: 4 });
  account.ended({ dueMs: 0, status: 200, latencyMs: 40 });
  account.ended({ dueMs: 0, status: 429, latencyMs: 1 });
  account.ended({ dueMs: 0, status: undefined, latencyMs: 30_000 });
  const report = account.report(7);
  expect(report).toMatchObject({
    deadlineMs: 10,
    planned: 7,
    outcomes: { attained: 1, late: 1, shed: 1, failed: 1 },
    attainedShare: 0.25,
    okLatencyMs: { count: 2, mean: 22, max: 40 },
    shedLatencyMs: { count: 1, max: 1 },
    lagMs: { count: 4, mean: 1.25, max: 5 },
  });
});

test("sheds are told apart by when they were decided: at the door, while they waited, when their time had passed", () => {
  const account = new OpenLoopAccount(200);
  account.ended({ dueMs: 0, status: 429, latencyMs: 2, waitedMs: 0 });
  account.ended({ dueMs: 0, status: 503, latencyMs: 3 });
  account.ended({ dueMs: 0, status: 429, latencyMs: 104, waitedMs: 100 });
  account.ended({ dueMs: 0, status: 504, latencyMs: 200, waitedMs: 190 });
  expect(account.report(4)).toMatchObject({
    outcomes: { shed: 4 },
    sheds: {
      atDoorMs: { count: 2, max: 3 },
      laterMs: { count: 1, max: 104 },
      afterDecisionMs: { count: 1, max: 4 },
      expired: 1,
    },
  });
});

test("stretches of time are counted by when requests were due", () => {
  const account = new OpenLoopAccount(10, 100);
  account.ended({ dueMs: 20, status: 200, latencyMs: 5 });
  account.ended({ dueMs: 299, status: 200, latencyMs: 50 });
  account.ended({ dueMs: 99.9, status: 429, latencyMs: 1 });
  expect(account.report(3).windows).toEqual([
    { fromMs: 0, outcomes: { attained: 1, late: 0, shed: 1, failed: 0 }, p99Ms: 5 },
    { fromMs: 100, outcomes: { attained: 0, late: 0, shed: 0, failed: 0 }, p99Ms: 0 },
    { fromMs: 200, outcomes: { attained: 0, late: 1, shed: 0, failed: 0 }, p99Ms: 50 },
  ]);
});

test("a load that sent nothing attained nothing", () => {
  expect(new OpenLoopAccount(10).report(3)).toMatchObject({
    planned: 3,
    attainedShare: 0,
    lagMs: { count: 0, p99: 0 },
  });
});

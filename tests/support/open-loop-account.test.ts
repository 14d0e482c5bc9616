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
  account.ended(200, 4);
  account.ended(200, 40);
  account.ended(429, 1);
  account.ended(undefined, 30_000);
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

test("a load that sent nothing attained nothing", () => {
  expect(new OpenLoopAccount(10).report(3)).toMatchObject({
    planned: 3,
    attainedShare: 0,
    lagMs: { count: 0, p99: 0 },
  });
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { type BatchView, feasibleRows, planBatch, sustainableRows, targetRows } from "./batch-plan.ts";
import type { Line } from "./curve.ts";

/** A device whose batch of n takes 4 + 0.25 n ms: batching pays. */
const GPU: Line = { fixedMs: 4, rowMs: 0.25 };
/** A processor: a row more costs nearly a batch more. */
const CPU: Line = { fixedMs: 2, rowMs: 8 };

function view(given: Partial<BatchView> & { readonly line?: Line | undefined } = {}): BatchView {
  const line = "line" in given ? given.line : GPU;
  const timeOf = (rows: number): number => (line === undefined ? 0 : line.fixedMs + line.rowMs * rows);
  return {
    nowMs: 1_000,
    startMs: 1_000,
    headDeadlineMs: 1_020,
    headAimMs: given.headDeadlineMs ?? 1_020,
    marginMs: 0,
    headSinceMs: 1_000,
    headRows: 1,
    fillRows: 0,
    waitingRows: 1,
    rowsMax: 64,
    predict: line === undefined ? () => undefined : (rows) => ({ q50Ms: timeOf(rows), q95Ms: timeOf(rows) }),
    rate: 0,
    slots: 8,
    lastDispatchMs: -Infinity,
    holdMaxMs: Infinity,
    ...given,
    line,
  };
}

test("the sustainable batch is λa / (N − λb), at least 1, at most the largest", () => {
  expect(sustainableRows(GPU, { rate: 12.8, slots: 8, rowsMax: 64 })).toBeCloseTo((12.8 * 4) / (8 - 12.8 * 0.25));
  expect(sustainableRows(GPU, { rate: 0.01, slots: 8, rowsMax: 64 })).toBe(1);
  expect(sustainableRows(GPU, { rate: 31, slots: 8, rowsMax: 64 })).toBe(64);
  expect(sustainableRows(GPU, { rate: 40, slots: 8, rowsMax: 64 })).toBe(64);
});

test("the target is the largest batch with L(n)·(1 + 1/N) within the time of a request", () => {
  // (20 / 1.125 − 4) / 0.25 = 55.1
  expect(targetRows(view())).toBe(55);
  expect(targetRows(view({ headDeadlineMs: 1_001 }))).toBe(1);
  expect(targetRows(view({ headDeadlineMs: 6_000 }))).toBe(64);
});

test("with nothing to gain by waiting the batch leaves at once", () => {
  expect(planBatch(view())).toMatchObject({ action: "send", rows: 1, reason: "idle" });
  const busy = { rate: 0.8, waitingRows: 3, lastDispatchMs: 999.9, headDeadlineMs: 2_000 };
  expect(planBatch(view({ ...busy, line: CPU }))).toMatchObject({ action: "send", rows: 3, reason: "idle" });
  // The slots' turn had passed before the first of them came: nothing was held for it.
  const rested = { rate: 12.8, waitingRows: 5, lastDispatchMs: 0, headDeadlineMs: 2_000 };
  expect(planBatch(view(rested))).toMatchObject({ action: "send", rows: 5, reason: "idle" });
});

test("without a measurement everything leaves", () => {
  expect(planBatch(view({ line: undefined, waitingRows: 9 }))).toMatchObject({
    action: "send",
    rows: 9,
    reason: "idle",
  });
  expect(planBatch(view({ line: undefined, waitingRows: 99 }))).toMatchObject({
    action: "send",
    rows: 64,
    reason: "full",
  });
});

test("a queue below the sustainable batch is held a slot's turn, the last safe moment or the longest hold, whatever comes first", () => {
  const load = { rate: 12.8, waitingRows: 5, lastDispatchMs: 999.5 };
  const planned = sustainableRows(GPU, { rate: 12.8 * 1.3, slots: 8, rowsMax: 55 });
  const paceMs = 999.5 + (4 + 0.25 * Math.round(planned)) / 8;
  expect(planBatch(view(load))).toMatchObject({ action: "hold", untilMs: paceMs });
  expect(planBatch(view({ ...load, nowMs: paceMs, startMs: paceMs }))).toMatchObject({
    action: "send",
    rows: 5,
    reason: "paced",
  });
  expect(planBatch(view({ ...load, headSinceMs: 980, headDeadlineMs: 1_006.9 }))).toMatchObject({
    action: "hold",
    untilMs: 1_006.9 - 5.5 - 1,
  });
  expect(planBatch(view({ ...load, headSinceMs: 980, headDeadlineMs: 1_005.55 }))).toMatchObject({
    action: "send",
    rows: 5,
    reason: "deadline",
  });
  expect(planBatch(view({ ...load, holdMaxMs: 0.2 }))).toMatchObject({ action: "hold", untilMs: 1_000.2 });
  expect(planBatch(view({ ...load, holdMaxMs: 0 }))).toMatchObject({ action: "send", rows: 5, reason: "paced" });
});

test("the batch is as large as the most urgent request allows, and no larger than the largest", () => {
  expect(planBatch(view({ waitingRows: 200, headDeadlineMs: 2_000 }))).toMatchObject({
    action: "send",
    rows: 64,
    reason: "full",
  });
  expect(planBatch(view({ waitingRows: 60, headDeadlineMs: 1_010 }))).toMatchObject({
    action: "send",
    rows: 24,
    reason: "deadline",
  });
});

test("each plan says why: what bounds the batch, what ends the hold, what the request would cost", () => {
  const load = { rate: 12.8, lastDispatchMs: 999.5 };
  expect(planBatch(view({ waitingRows: 200, headDeadlineMs: 2_000 }))).toMatchObject({ bound: "model" });
  expect(planBatch(view({ waitingRows: 60, headDeadlineMs: 1_010 }))).toMatchObject({ bound: "deadline" });
  expect(planBatch(view({ ...load, waitingRows: 20 }))).toMatchObject({
    bound: "waiting",
    sustainableRows: sustainableRows(GPU, { rate: 12.8, slots: 8, rowsMax: 55 }),
  });
  expect(planBatch(view({ ...load, waitingRows: 5 }))).toMatchObject({ end: "pace" });
  expect(planBatch(view({ ...load, waitingRows: 5, holdMaxMs: 0.2 }))).toMatchObject({ end: "max_hold" });
  const soon = { headSinceMs: 980, headDeadlineMs: 1_006.9 };
  expect(planBatch(view({ ...load, ...soon, waitingRows: 5 }))).toMatchObject({ end: "last_safe" });
  const overload = { rate: 50, waitingRows: 300, headSinceMs: 985, lastDispatchMs: 999 };
  expect(planBatch(view({ ...overload, headDeadlineMs: 1_005 }))).toMatchObject({ why: "small_batch" });
  expect(planBatch(view({ ...overload, headDeadlineMs: 1_004 }))).toMatchObject({ why: "hopeless" });
});

test("in overload the most urgent request is shed rather than the batch made small", () => {
  const overload = { rate: 50, waitingRows: 300, headSinceMs: 985, headDeadlineMs: 1_005, lastDispatchMs: 999 };
  expect(planBatch(view(overload))).toMatchObject({ action: "shed" });
  // The same request without the load is served.
  expect(planBatch(view({ ...overload, rate: 0.01, waitingRows: 1 }))).toMatchObject({ action: "send", rows: 1 });
});

test("invariants: what is sent is in time, within the largest batch, and holds the head; a hold is bounded and safe", () => {
  const views = fc
    .record({
      fixedMs: fc.double({ min: 0.01, max: 50, noNaN: true }),
      rowMs: fc.double({ min: 0.001, max: 10, noNaN: true }),
      nowMs: fc.double({ min: 0, max: 1e6, noNaN: true }),
      startsInMs: fc.double({ min: 0, max: 20, noNaN: true }),
      ageMs: fc.double({ min: 0, max: 200, noNaN: true }),
      leftMs: fc.double({ min: -1, max: 400, noNaN: true }),
      rowsMax: fc.integer({ min: 1, max: 256 }),
      waitingRows: fc.integer({ min: 1, max: 2_000 }),
      rate: fc.double({ min: 0, max: 200, noNaN: true }),
      slots: fc.integer({ min: 1, max: 64 }),
      sinceDispatchMs: fc.double({ min: 0, max: 1_000, noNaN: true }),
      holdMaxMs: fc.double({ min: 0, max: 100, noNaN: true }),
    })
    .chain((given) =>
      fc
        .record({ headRows: fc.integer({ min: 1, max: Math.min(given.rowsMax, given.waitingRows) }) })
        .map((head) => ({ ...given, ...head })),
    );
  fc.assert(
    fc.property(views, ({ fixedMs, rowMs, nowMs, startsInMs, ageMs, leftMs, sinceDispatchMs, ...given }) => {
      const startMs = nowMs + startsInMs;
      const headDeadlineMs = nowMs + leftMs;
      const line = { fixedMs, rowMs };
      const one = view({
        ...given,
        line,
        nowMs,
        startMs,
        headDeadlineMs,
        headSinceMs: nowMs - ageMs,
        lastDispatchMs: nowMs - sinceDispatchMs,
      });
      const endMs = (rows: number): number => startMs + fixedMs + rowMs * rows;
      const plan = planBatch(one);
      if (plan.action === "send") {
        expect(plan.rows).toBeGreaterThanOrEqual(given.headRows);
        expect(plan.rows).toBeLessThanOrEqual(Math.min(given.rowsMax, given.waitingRows));
        expect(endMs(plan.rows)).toBeLessThanOrEqual(headDeadlineMs + 1e-9);
        // No larger one was possible.
        if (plan.rows < Math.min(given.rowsMax, given.waitingRows))
          expect(endMs(plan.rows + 1)).toBeGreaterThan(headDeadlineMs - 1e-9);
      } else if (plan.action === "hold") {
        expect(plan.untilMs).toBeGreaterThan(nowMs);
        expect(plan.untilMs).toBeLessThanOrEqual(nowMs - ageMs + given.holdMaxMs);
        // Never past what makes the head infeasible, and never longer than a turn.
        expect(plan.untilMs + startsInMs + fixedMs + rowMs * given.waitingRows).toBeLessThanOrEqual(headDeadlineMs);
        expect(plan.untilMs - one.lastDispatchMs).toBeLessThanOrEqual(
          (fixedMs + rowMs * given.rowsMax) / given.slots + 1e-9,
        );
        expect(fixedMs).toBeGreaterThan(rowMs);
      } else {
        const kept = sustainableRows(line, { rate: given.rate, slots: given.slots, rowsMax: targetRows(one) });
        expect(endMs(Math.max(given.headRows, Math.min(Math.floor(kept), given.waitingRows)))).toBeGreaterThan(
          headDeadlineMs,
        );
      }
    }),
    { numRuns: 5_000 },
  );
});

test("a latency target bounds the batch and the hold, and sheds nothing", () => {
  const late = { waitingRows: 60, headDeadlineMs: 6_000, lastDispatchMs: 999 };
  expect(planBatch(view({ ...late, headAimMs: 1_010 }))).toMatchObject({
    action: "send",
    rows: 24,
    reason: "deadline",
  });
  // It cannot be met any more: then as many as the deadline allows.
  expect(planBatch(view({ ...late, headAimMs: 1_002 }))).toMatchObject({ action: "send", rows: 60 });
});

test("a prediction that would shed everything is put to the test once a second, or where nobody else waits", () => {
  const hopeless = { headDeadlineMs: 1_003, lastDispatchMs: 500 };
  const longAgo = { ...hopeless, lastDispatchMs: -1 };
  const tried = { action: "send", rows: 1, reason: "deadline" };
  expect(planBatch(view(hopeless))).toMatchObject({ action: "shed" });
  expect(planBatch(view(longAgo))).toMatchObject(tried);
  // The others may have more time, and their runs tell as much.
  expect(planBatch(view({ ...longAgo, waitingRows: 2 }))).toMatchObject({ action: "shed" });
  const predict = () => ({ q50Ms: 2, q95Ms: 50 });
  expect(planBatch(view({ ...hopeless, predict }))).toMatchObject(tried);
  expect(planBatch(view({ ...hopeless, predict, waitingRows: 2 }))).toMatchObject({ action: "shed" });
});

test("feasible rows are the most that are in time, or none", () => {
  expect(feasibleRows({ ...view(), dueMs: 1_004.2 })).toBe(0);
  expect(feasibleRows({ ...view(), dueMs: 1_004.25 })).toBe(1);
  expect(feasibleRows({ ...view(), dueMs: 1_012 })).toBe(32);
});

test("a batch is planned to end by the margin before its deadline, and before its aim; alone a request is tried up to the deadline", () => {
  const waiting = { waitingRows: 60, headDeadlineMs: 1_010, rate: 0.001 };
  expect(planBatch(view(waiting))).toMatchObject({ action: "send", rows: 24 });
  expect(planBatch(view({ ...waiting, marginMs: 2 }))).toMatchObject({ action: "send", rows: 16 });
  const aimed = { ...waiting, headDeadlineMs: 6_000, headAimMs: 1_010 };
  expect(planBatch(view({ ...aimed, marginMs: 2 }))).toMatchObject({ action: "send", rows: 16 });
  expect(targetRows(view({ marginMs: 2 }))).toBe(48);
  const near = { headDeadlineMs: 1_005, marginMs: 2 };
  expect(planBatch(view({ ...near, waitingRows: 2, rate: 0.001 }))).toMatchObject({ action: "shed", slackMs: -1.25 });
  expect(planBatch(view(near))).toMatchObject({ action: "send", rows: 1 });
});

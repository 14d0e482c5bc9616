import fc from "fast-check";
import { expect, test } from "vitest";
import { fillRowsMax } from "./fill.ts";

const timeOf = (rows: number): number => 4 + 0.25 * rows;
const view = {
  startMs: 0,
  headSinceMs: 0,
  waitingRows: 1,
  rowsMax: 64,
  predict: (rows: number) => ({ q50Ms: timeOf(rows), q95Ms: timeOf(rows) }),
};

test("who has not waited may be joined by a whole batch, and who has waited for one by nobody", () => {
  expect(fillRowsMax(view)).toBe(63);
  expect(fillRowsMax({ ...view, startMs: timeOf(64) })).toBe(0);
  expect(fillRowsMax({ ...view, startMs: timeOf(64) - 5 })).toBe(20);
  expect(fillRowsMax({ ...view, predict: () => undefined })).toBe(63);
});

test("what it waited and what joins it take one batch of its time, never more", () => {
  const given = fc.record({
    startMs: fc.double({ min: 0, max: 30, noNaN: true }),
    waitingRows: fc.integer({ min: 1, max: 100 }),
  });
  fc.assert(
    fc.property(given, ({ startMs, waitingRows }) => {
      const rows = fillRowsMax({ ...view, startMs, waitingRows });
      const own = timeOf(Math.min(64, waitingRows));
      if (rows > 0) expect(startMs + timeOf(waitingRows + rows) - own).toBeLessThanOrEqual(timeOf(64) + 1e-9);
    }),
  );
});

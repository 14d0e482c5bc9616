import fc from "fast-check";
import { expect, test } from "vitest";
import { type Backdrop, finishBehind } from "./admission.ts";

const backdrop: Backdrop = {
  rows: 1,
  rowsMax: 64,
  slots: 1,
  freeInMs: 0,
  predict: (rows) => ({ q50Ms: 4 + 0.25 * rows, q95Ms: 5 + 0.25 * rows }),
};

function finishInMs({ aheadRows = 0, ...given }: Backdrop & { readonly aheadRows?: number }): number | undefined {
  return finishBehind(given)?.(aheadRows);
}

test("alone it is one run away, or one run after the slot is free", () => {
  expect(finishInMs(backdrop)).toBe(4.25);
  expect(finishInMs({ ...backdrop, rows: 8, freeInMs: 3 })).toBe(3 + 6);
});

test("with a few ahead it shares their batch, with many it comes after the batches before it", () => {
  expect(finishInMs({ ...backdrop, aheadRows: 3 })).toBe(5 + 1);
  // 200 rows are three batches of 64, 20 ms each, and its own.
  expect(finishInMs({ ...backdrop, aheadRows: 200 })).toBe(3 * 20 + 21);
  // With four slots that take turns batches of 32 are better: six, 12 ms each, and its own.
  expect(finishInMs({ ...backdrop, aheadRows: 200, slots: 4 })).toBe((6 * 12) / 4 + 13);
});

test("it is the best over all batch sizes, however few or many are ahead", () => {
  const { predict } = backdrop;
  for (const [rows, rowsMax, slots] of [
    [1, 64, 1],
    [7, 48, 3],
    [1, 1, 2],
  ] as const) {
    const finish = finishBehind({ ...backdrop, rows, rowsMax, slots })!;
    for (let aheadRows = 1; aheadRows < 300; aheadRows++) {
      const sizes = [1, 2, 4, 8, 16, 32].filter((k) => k < rowsMax);
      const times = [...sizes, rowsMax].map((k) => {
        const own = predict(Math.max(rows, Math.min(k, aheadRows + rows)))!.q95Ms;
        return Math.floor(aheadRows / k) * (predict(k)!.q50Ms / slots) + own;
      });
      expect(finish(aheadRows)).toBeCloseTo(Math.min(...times), 9);
    }
  }
});

test("nothing is known: it is let in", () => {
  expect(finishInMs({ ...backdrop, aheadRows: 500, predict: () => undefined })).toBeUndefined();
});

test("monotone: fewer ahead, one more slot or an earlier slot never make it later", () => {
  const cases = fc.record({
    aheadRows: fc.integer({ min: 1, max: 5_000 }),
    rows: fc.integer({ min: 1, max: 32 }),
    rowsMax: fc.integer({ min: 32, max: 256 }),
    slots: fc.integer({ min: 1, max: 32 }),
    freeInMs: fc.double({ min: 0, max: 100, noNaN: true }),
    fixedMs: fc.double({ min: 0.01, max: 50, noNaN: true }),
    rowMs: fc.double({ min: 0, max: 10, noNaN: true }),
  });
  fc.assert(
    fc.property(cases, ({ fixedMs, rowMs, ...given }) => {
      const predict: Backdrop["predict"] = (rows) => ({
        q50Ms: fixedMs + rowMs * rows,
        q95Ms: 1.2 * (fixedMs + rowMs * rows),
      });
      const laterMs = finishInMs({ ...given, predict })! + 1e-9;
      expect(finishInMs({ ...given, predict, aheadRows: given.aheadRows - 1 })).toBeLessThanOrEqual(laterMs);
      expect(finishInMs({ ...given, predict, slots: given.slots + 1 })).toBeLessThanOrEqual(laterMs);
      expect(finishInMs({ ...given, predict, freeInMs: given.freeInMs / 2 })).toBeLessThanOrEqual(laterMs);
    }),
    { numRuns: 2_000 },
  );
});

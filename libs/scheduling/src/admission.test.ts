import fc from "fast-check";
import { expect, test } from "vitest";
import { type Backdrop, finishBehind, type SlotGroup } from "./admission.ts";

/** Slots that are all alike. */
type Even = Omit<Backdrop, "groups"> & SlotGroup;

const backdrop: Even = {
  rows: 1,
  rowsMax: 64,
  slots: 1,
  freeInMs: 0,
  predict: (rows) => ({ q50Ms: 4 + 0.25 * rows, q95Ms: 5 + 0.25 * rows }),
};

function behind({ rows, rowsMax, ...group }: Even): ReturnType<typeof finishBehind> {
  return finishBehind({ rows, rowsMax, groups: [group] });
}

function finishInMs({ aheadRows = 0, ...given }: Even & { readonly aheadRows?: number }): number | undefined {
  return behind(given)?.(aheadRows);
}

/** A group that takes so many times as long as the usual one. */
function groupOf(slow: number, slots: number, freeInMs = 0): SlotGroup {
  return { slots, freeInMs, predict: (rows) => scaledBy(slow, backdrop.predict(rows)) };
}

function scaledBy(slow: number, prediction: ReturnType<SlotGroup["predict"]>): ReturnType<SlotGroup["predict"]> {
  return prediction && { q50Ms: slow * prediction.q50Ms, q95Ms: slow * prediction.q95Ms };
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
    const finish = behind({ ...backdrop, rows, rowsMax, slots })!;
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
      const predict: SlotGroup["predict"] = (rows) => ({
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

test("slots that differ share the work by their rates, and its own batch may run on the slowest that shares it", () => {
  const at = (aheadRows: number, ...groups: SlotGroup[]): number =>
    finishBehind({ rows: 1, rowsMax: 64, groups })!(aheadRows);
  // Two slots of half the speed are as much as one more; the last batch takes twice as long there.
  expect(at(6_400, groupOf(1, 3), groupOf(2, 2))).toBe(100 * (20 / 4) + 2 * 21);
  // With few ahead it is done sooner without them.
  expect(at(3, groupOf(1, 3), groupOf(2, 2))).toBe(5 + 1);
  // Unless only they are free.
  expect(at(3, groupOf(1, 3, 10), groupOf(2, 2))).toBe(2 * (5 + 1));
});

test("monotone: one more group, whatever its speed, never makes it later", () => {
  const cases = fc.record({
    slow: fc.array(fc.double({ min: 1, max: 5, noNaN: true }), { minLength: 1, maxLength: 5 }),
    aheadRows: fc.integer({ min: 0, max: 2_000 }),
    freeInMs: fc.double({ min: 0, max: 100, noNaN: true }),
    more: fc.double({ min: 1, max: 5, noNaN: true }),
  });
  fc.assert(
    fc.property(cases, ({ slow, aheadRows, freeInMs, more }) => {
      const at = (speeds: readonly number[]): number =>
        finishBehind({
          rows: 1,
          rowsMax: 64,
          groups: speeds.toSorted((a, b) => a - b).map((one) => groupOf(one, 2, freeInMs * ((one * 7_919) % 1))),
        })!(aheadRows);
      expect(at([...slow, more])).toBeLessThanOrEqual(at(slow) + 1e-9);
    }),
    { numRuns: 1_000 },
  );
});

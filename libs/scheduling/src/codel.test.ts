import fc from "fast-check";
import { expect, test } from "vitest";
import { Codel, patienceMsOf, staleOf } from "./codel.ts";

const BATCH = { rows: 8, ms: 20 };

type Look = { readonly afterMs: number; readonly oldestMs: number; readonly rows: number };
const looks = fc.array(
  fc.record({
    afterMs: fc.integer({ min: 0, max: 150 }),
    oldestMs: fc.integer({ min: 0, max: 60 }),
    rows: fc.integer({ min: 0, max: 40 }),
  }),
  { maxLength: 40 },
);

test("a queue stands once each look of 20 targets has found its oldest above the target, and more than a batch; until it is empty", () => {
  fc.assert(
    fc.property(looks, fc.constantFrom(1, 5, 20), (all, batchMs) => {
      const codel = new Codel();
      const targetMs = Math.max(5, batchMs);
      const seen: (Look & { readonly atMs: number })[] = [];
      let [nowMs, stood] = [0, false];
      for (const look of all) {
        nowMs += look.afterMs;
        seen.push({ ...look, atMs: nowMs });
        codel.look(look, { rows: BATCH.rows, ms: batchMs }, nowMs);
        const low = seen.findLastIndex(({ oldestMs, rows }) => oldestMs <= targetMs || rows < BATCH.rows);
        const since = seen[low + 1];
        const isNew = since !== undefined && nowMs - since.atMs >= 20 * targetMs;
        // Once it stands, only an empty one does not.
        stood = isNew || (stood && look.oldestMs > 0);
        expect(codel.stands).toBe(stood);
        if (since !== undefined || stood) expect(codel.isInDoubt).toBe(true);
      }
    }),
  );
});

test("while nobody knows how long a batch takes nothing stands", () => {
  const codel = new Codel();
  for (let nowMs = 0; nowMs < 1e6; nowMs += 1e3)
    codel.look({ oldestMs: nowMs, rows: 1e6 }, { rows: 8, ms: Infinity }, nowMs);
  expect(codel.stands).toBe(false);
  expect(patienceMsOf(20)).toBe(40);
  expect(patienceMsOf(0.1)).toBe(10);
});

test("the oldest are given up, none that is younger, and a batch is kept", () => {
  const entry = fc.record({ ageMs: fc.integer({ min: 0, max: 100 }), rows: fc.integer({ min: 1, max: 5 }) });
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 30 }), fc.integer({ min: 0, max: 20 }), (given, otherRows) => {
      const waiting = given
        .map(({ ageMs, rows }) => ({ receivedMs: 1_000 - ageMs, rows }))
        .sort((a, b) => a.receivedMs - b.receivedMs);
      const rows = otherRows + waiting.reduce((sum, one) => sum + one.rows, 0);
      const stale = staleOf(waiting, { sinceMs: 950, rows, keptRows: BATCH.rows });
      expect(stale).toEqual(waiting.slice(0, stale.length));
      for (const { receivedMs } of stale) expect(receivedMs).toBeLessThanOrEqual(950);
      const left = rows - stale.reduce((sum, one) => sum + one.rows, 0);
      if (stale.length > 0) expect(left).toBeGreaterThanOrEqual(BATCH.rows);
      const next = waiting[stale.length];
      expect(next === undefined || next.receivedMs > 950 || left - next.rows < BATCH.rows).toBe(true);
    }),
  );
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { LIMITS } from "./limits.ts";
import { TotalsBook, type TotalsEntry } from "./totals.ts";

function entry(counter: string, requests: number, more: Partial<TotalsEntry> = {}): TotalsEntry {
  const none = { failures: 0, rows: 0, batches: 1, requestUs: 0, failureUs: 0 };
  const times = { queueUs: 0, inputUs: 0, computeUs: 0, outputUs: 0, idleMs: 0 };
  return { counter, model: "m", version: "1", requests, ...none, ...times, ...more };
}

test("parts add up; of one part the highest counts", () => {
  const book = new TotalsBook();
  book.merge([entry("a", 5, { rows: 7 }), entry("b", 10, { idleMs: 30 })], 1000);
  book.merge([entry("a", 4, { rows: 9, idleMs: 200 })], 1100);
  expect(book.sums()).toMatchObject([{ model: "m", version: "1", requests: 15, rows: 9, lastMs: 1000 }]);
  expect(book.entries(1500)).toMatchObject([
    { counter: "a", requests: 5, rows: 9, idleMs: 500 },
    { counter: "b", requests: 10, idleMs: 530 },
  ]);
});

test("a broker that has run nothing says nothing about when a model last ran", () => {
  const book = new TotalsBook();
  book.merge([entry("a", 5, { idleMs: 100 }), entry("b", 0, { batches: 0 })], 1000);
  expect(book.sums()).toMatchObject([{ lastMs: 900 }]);
  expect(book.entries(1500)).toMatchObject([{ idleMs: 600 }, { idleMs: 0 }]);
});

test("models and versions are kept apart, whatever their names", () => {
  const book = new TotalsBook();
  book.merge([entry("a", 1, { model: 'x","y' }), entry("a", 2, { model: "x", version: 'y","1' })], 0);
  expect(book.sums().map(({ requests }) => requests)).toEqual([1, 2]);
});

test("in any order, repeated, and by way of others, everybody comes to the same sum, and no sum ever falls", () => {
  const part = fc.record({ counter: fc.constantFrom("a", "b", "c"), requests: fc.nat(1000) });
  fc.assert(
    fc.property(fc.array(part), fc.array(fc.nat()), (parts, order) => {
      const [direct, indirect] = [new TotalsBook(), new TotalsBook()];
      let before = 0;
      for (const { counter, requests } of parts) {
        direct.merge([entry(counter, requests)], 0);
        const [{ requests: sum } = { requests: 0 }] = direct.sums();
        expect(sum).toBeGreaterThanOrEqual(before);
        before = sum;
      }
      const shuffled = parts.map((one, i) => [order[i] ?? 0, one] as const).toSorted(([a], [b]) => a - b);
      for (const [, { counter, requests }] of shuffled) indirect.merge([entry(counter, requests)], 0);
      indirect.merge(direct.entries(0), 0);
      expect(indirect.sums()).toEqual(direct.sums());
    }),
  );
});

test("many parts are held at a bound: the oldest make room", () => {
  const book = new TotalsBook();
  for (let i = 0; i < LIMITS.list + 10; i++) book.merge([entry(`c${i}`, 1)], 0);
  expect(book.sums()).toMatchObject([{ requests: LIMITS.list }]);
  expect(book.entries(0)[0]?.counter).toBe("c10");
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { RequestTable } from "./request-table.ts";

test("it holds what a Map holds, whatever the order of calls", () => {
  // Numbers that collide in small tables, and the largest ones.
  const number = fc.oneof(
    fc.integer({ min: 0, max: 40 }),
    fc.integer({ min: 0, max: 40 }).map((n) => n * 64),
    fc.integer({ min: 0, max: 40 }).map((n) => n * 2 ** 32),
    fc.maxSafeNat(),
  );
  const call = fc.tuple(fc.constantFrom("set", "set", "delete"), number);
  fc.assert(
    fc.property(fc.array(call, { maxLength: 400 }), (calls) => {
      const table = new RequestTable<{ of: number }>();
      const map = new Map<number, { of: number }>();
      for (const [kind, n] of calls) {
        if (kind === "delete") expect(table.delete(n)).toBe(map.delete(n));
        else {
          const request = { of: n };
          table.set(n, request);
          map.set(n, request);
        }
        expect(table.size).toBe(map.size);
        expect(table.get(n)).toBe(map.get(n));
      }
      for (const [kind, n] of calls) expect([kind, table.get(n)]).toEqual([kind, map.get(n)]);
      expect(new Set(table.values())).toEqual(new Set(map.values()));
    }),
  );
});

test("numbers that are counted up for long need no more room than those that are open at one time", () => {
  const table = new RequestTable<number>();
  for (let n = 0; n < 100_000; n++) {
    table.set(n, n);
    table.delete(n - 300);
  }
  expect(table.size).toBe(300);
  expect(table.values().toSorted((a, b) => a - b)).toEqual(Array.from({ length: 300 }, (_, i) => 99_700 + i));
});

test("a deletion costs the same whether few are open or many", () => {
  /** How long 5,000 requests take that come and go in their order, so many open at a time, in ms; the least of ten. */
  const costOf = (open: number): number => {
    const table = new RequestTable<number>();
    let n = 0;
    while (n < open) table.set(n, n++);
    const costs = Array.from({ length: 10 }, () => {
      const fromMs = performance.now();
      for (const until = n + 5_000; n < until; n++) {
        table.set(n, n);
        table.delete(n - open);
      }
      return performance.now() - fromMs;
    });
    return Math.min(...costs);
  };
  costOf(8);
  // Were those that are open neighbours, it would be some hundred times.
  expect(costOf(8_000)).toBeLessThan(15 * costOf(8));
});

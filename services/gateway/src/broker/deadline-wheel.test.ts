import fc from "fast-check";
import { expect, test } from "vitest";
import { DeadlineWheel, WHEEL_GRAIN_MS, type Wheeled } from "./deadline-wheel.ts";

test("every entry expires once, not early, and at most one grain late", () => {
  const entry = fc.record({
    addedMs: fc.double({ min: 0, max: 30_000, noNaN: true }),
    // Numbers next to zero, which lose their last bit in a division by eight, are no deadlines.
    budgetMs: fc.double({ min: 1e-6, max: 40_000, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 60 }), fc.integer({ min: 1, max: 500 }), (entries, stepMs) => {
      const wheel = new DeadlineWheel<Wheeled & { index: number }>();
      const todo = entries
        .map((e, index) => ({ ...e, index, deadlineMs: e.addedMs + e.budgetMs, wheelIndex: -1 }))
        .sort((a, b) => a.addedMs - b.addedMs);
      const expiredAt = new Map<number, number>();
      for (let nowMs = 0; nowMs <= 71_000; nowMs += stepMs) {
        while (todo[0] !== undefined && todo[0].addedMs <= nowMs) wheel.add(todo.shift()!);
        for (const { index } of wheel.expire(nowMs)) {
          expect(expiredAt.has(index)).toBe(false);
          expiredAt.set(index, nowMs);
        }
      }
      expect(wheel.size).toBe(0);
      for (const [index, e] of entries.entries()) {
        const deadlineMs = e.addedMs + e.budgetMs;
        expect(expiredAt.get(index)).toBeGreaterThanOrEqual(deadlineMs);
        // An entry is added at the step after `addedMs`, so it may be found one step after that.
        expect(expiredAt.get(index)! - deadlineMs).toBeLessThanOrEqual(WHEEL_GRAIN_MS + 2 * stepMs);
      }
    }),
    { numRuns: 30 },
  );
});

test("a removed entry does not expire, and removing twice does no harm", () => {
  const wheel = new DeadlineWheel<Wheeled>();
  const [a, b] = [
    { deadlineMs: 100, wheelIndex: -1 },
    { deadlineMs: 100, wheelIndex: -1 },
  ];
  wheel.add(a);
  wheel.add(b);
  wheel.remove(a);
  wheel.remove(a);
  expect(wheel.size).toBe(1);
  expect(wheel.expire(99)).toEqual([]);
  expect(wheel.expire(200)).toEqual([b]);
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { EdfQueue } from "./edf-queue.ts";

type Entry = { deadlineMs: number; rows: number; queueIndex: number };
const entry = (deadlineMs: number, rows = 1): Entry => ({ deadlineMs, rows, queueIndex: -1 });

test("entries leave by deadline, whatever is pushed and removed in between", () => {
  const step = fc.oneof(
    fc.record({
      op: fc.constant("push" as const),
      deadlineMs: fc.integer({ min: 0, max: 50 }),
      rows: fc.integer({ min: 1, max: 9 }),
    }),
    fc.record({ op: fc.constant("pop" as const) }),
    fc.record({ op: fc.constant("remove" as const), which: fc.nat(20) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400, size: "max" }), (steps) => {
      const queue = new EdfQueue<Entry>();
      const inside: Entry[] = [];
      for (const one of steps) {
        if (one.op === "push") {
          const added = entry(one.deadlineMs, one.rows);
          queue.push(added);
          inside.push(added);
        } else if (one.op === "pop") {
          const popped = queue.pop();
          expect(popped?.deadlineMs).toBe(inside.length ? Math.min(...inside.map((e) => e.deadlineMs)) : undefined);
          if (popped) inside.splice(inside.indexOf(popped), 1);
        } else if (inside.length > 0) {
          const [removed] = inside.splice(one.which % inside.length, 1);
          expect(queue.remove(removed!)).toBe(true);
          expect(queue.remove(removed!)).toBe(false);
        }
        expect(queue.length).toBe(inside.length);
        expect([...queue].map((e) => e.deadlineMs)).toEqual(inside.map((e) => e.deadlineMs).sort((a, b) => a - b));
        expect([...queue.backwards()]).toEqual([...queue].toReversed());
        expect(queue.rows).toBe(inside.reduce((sum, e) => sum + e.rows, 0));
        for (const deadlineMs of [0, 10, 25, 51]) {
          const before = inside.filter((e) => e.deadlineMs <= deadlineMs);
          const rows = before.reduce((sum, e) => sum + e.rows, 0);
          expect(queue.rowsBefore(deadlineMs)).toBe(rows);
        }
      }
    }),
  );
});

test("an entry of another queue is not removed", () => {
  const a = new EdfQueue<Entry>();
  const b = new EdfQueue<Entry>();
  const one = entry(1);
  a.push(one);
  b.push(entry(2));
  expect(b.remove(one)).toBe(false);
  expect(a.remove(one)).toBe(true);
});

test("entries of equal deadline leave in the order in which they came", () => {
  const queue = new EdfQueue<Entry>();
  const entries = Array.from({ length: 300 }, (_, i) => entry(i % 3));
  for (const one of entries) queue.push(one);
  const left = Array.from({ length: 300 }, () => queue.pop());
  expect(left).toEqual(entries.toSorted((a, b) => a.deadlineMs - b.deadlineMs));
});

test("the first that does not fit is found, whatever stands before it", () => {
  const given = fc.record({
    entries: fc.array(fc.tuple(fc.nat(1_000), fc.integer({ min: 1, max: 4 })), {
      minLength: 50,
      maxLength: 300,
    }),
    fromMs: fc.nat(1_000),
    // Evenly: what arbitrary doubles make is mostly next to nothing, and all fits.
    rowMs: fc.nat(100).map((tenths) => tenths / 10),
    startMs: fc.integer({ min: -100, max: 500 }),
  });
  let found = 0;
  fc.assert(
    fc.property(given, ({ entries, fromMs, rowMs, startMs }) => {
      const queue = new EdfQueue<Entry>();
      for (const [deadlineMs, rows] of entries) queue.push(entry(deadlineMs, rows));
      const fits = (rows: number, deadlineMs: number): boolean => startMs + rows * rowMs <= deadlineMs;
      let rows = 0;
      let expected: Entry | undefined;
      for (const one of queue) {
        rows += one.rows;
        if (one.deadlineMs > fromMs && !fits(rows, one.deadlineMs)) expected ??= one;
      }
      if (expected !== undefined) found++;
      expect(queue.firstMisfit(fromMs, fits)).toBe(expected);
    }),
    { numRuns: 500 },
  );
  expect(found).toBeGreaterThan(50);
});

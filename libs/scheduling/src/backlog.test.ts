import fc from "fast-check";
import { expect, test } from "vitest";
import { Backlog } from "./backlog.ts";

type Entry = {
  classIndex: number;
  bucket: string;
  deadlineMs: number;
  rows: number;
  bytes: number;
  queueIndex: number;
};

function entry(classIndex: number, deadlineMs: number, given: Partial<Entry> = {}): Entry {
  return { classIndex, bucket: "", deadlineMs, rows: 1, bytes: 0, queueIndex: -1, ...given };
}
const LIMITS = { rowsMax: 4, itemsMax: 4, bytesMax: Infinity };
const keyOf = ({ classIndex, deadlineMs }: Entry): string => `${classIndex}/${deadlineMs}`;

function backlogOf(...entries: Entry[]): Backlog<Entry> {
  const backlog = new Backlog<Entry>(4);
  for (const one of entries) backlog.push(one);
  return backlog;
}

test("class goes before deadline, and a batch is filled up with what is less urgent", () => {
  const backlog = backlogOf(entry(2, 1), entry(1, 9), entry(1, 5), entry(0, 7));
  expect(backlog.earliest).toMatchObject({ classIndex: 2 });
  expect(backlog).toMatchObject({ headRows: 1, fillRows: 3, isHeadTop: true, rows: 4 });
  expect(backlog.take({ ...LIMITS, rowsMax: 3 }).map(keyOf)).toEqual(["0/7", "1/5", "1/9"]);
  expect(backlog.take(LIMITS).map(keyOf)).toEqual(["2/1"]);
  expect(backlog).toMatchObject({ head: undefined, earliest: undefined, headRows: 0, fillRows: 0, rows: 0 });
});

test("what fills up a batch is in time with it, and of its bucket", () => {
  const backlog = backlogOf(entry(0, 1), entry(1, 4), entry(1, 6), entry(2, 9), entry(2, 9, { bucket: "3" }));
  expect(backlog.fillRows).toBe(3);
  expect(backlog.take({ ...LIMITS, dueMs: 5 }).map(keyOf)).toEqual(["0/1", "2/9"]);
});

test("entries that are taken from wherever they stand count as their class's batch", () => {
  const owed = (take: (backlog: Backlog<Entry>) => void): (string | undefined)[] => {
    const backlog = backlogOf(...Array.from({ length: 80 }, (_, i) => [entry(0, i), entry(1, i)]).flat());
    return Array.from({ length: 8 }, () => {
      take(backlog);
      return backlog.head && keyOf(backlog.head);
    });
  };
  const byTurns = owed((backlog) => backlog.take(LIMITS));
  const chosen = owed((backlog) => {
    const queue = backlog.ofClass(backlog.head!.classIndex).inBucket("")!;
    const before = backlog.rows;
    backlog.takeThese([...queue.backwards()].slice(0, 4));
    expect(backlog.rows).toBe(before - 4);
  });
  expect(chosen.map((key) => key![0])).toEqual(byTurns.map((key) => key![0]));
  expect(new Set(chosen.map((key) => key![0]))).toEqual(new Set(["0", "1"]));
});

test("it counts what leaves before a new one: the more urgent classes, and its own to its deadline", () => {
  const backlog = backlogOf(entry(0, 50, { rows: 2 }), entry(1, 10), entry(1, 20, { bucket: "3" }), entry(2, 1));
  expect([0, 1, 2].map((classIndex) => backlog.rowsBefore(classIndex, 15))).toEqual([0, 3, 5]);
});

test("no class starves: each has a batch of its own when it is owed one", () => {
  const backlog = new Backlog<Entry>(4, [8, 1, 1]);
  for (let i = 0; i < 200; i++) for (const classIndex of [0, 1, 2]) backlog.push(entry(classIndex, i));
  const led: number[] = [];
  for (let i = 0; i < 50; i++) led.push(backlog.take(LIMITS)[0]!.classIndex);
  const count = (classIndex: number): number => led.filter((one) => one === classIndex).length;
  expect([count(1), count(2)]).toEqual([4, 4]);
  // Never two in a row that go before the most urgent.
  expect(led.join("")).not.toMatch(/[12][12]/);
});

test("whatever comes and goes, rows are right, and none is passed over by one of its class and bucket", () => {
  const step = fc.oneof(
    fc.record({
      classIndex: fc.nat(2),
      bucket: fc.constantFrom("", "2"),
      deadlineMs: fc.nat(30),
      rows: fc.integer({ min: 1, max: 3 }),
    }),
    fc.constant("take" as const),
    fc.nat(20),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const backlog = new Backlog<Entry>(4);
      let inside: Entry[] = [];
      for (const one of steps) {
        if (one === "take") {
          const { head, isHeadTop } = backlog;
          const batch = backlog.take(LIMITS);
          expect(batch[0]).toBe(head);
          inside = inside.filter((e) => !batch.includes(e));
          for (const { classIndex, bucket, deadlineMs } of batch) {
            expect(bucket).toBe(head!.bucket);
            for (const e of inside) {
              if (e.bucket !== bucket || e.classIndex !== classIndex) continue;
              expect(e.deadlineMs).toBeGreaterThanOrEqual(deadlineMs);
            }
          }
          if (isHeadTop && head !== undefined)
            for (const e of inside) expect(e.classIndex).toBeGreaterThanOrEqual(head.classIndex);
        } else if (typeof one === "number") {
          const [removed] = inside.splice(one % Math.max(1, inside.length), 1);
          if (removed !== undefined) expect(backlog.remove(removed)).toBe(true);
        } else {
          const { classIndex, deadlineMs, ...rest } = one;
          inside.push(entry(classIndex, deadlineMs, rest));
          backlog.push(inside.at(-1)!);
        }
        expect(backlog.rows).toBe(inside.reduce((sum, e) => sum + e.rows, 0));
        expect(backlog.earliest?.deadlineMs ?? Infinity).toBe(Math.min(...inside.map((e) => e.deadlineMs)));
      }
    }),
  );
});

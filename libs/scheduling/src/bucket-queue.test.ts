import fc from "fast-check";
import { expect, test } from "vitest";
import { BucketQueue } from "./bucket-queue.ts";

type Entry = { bucket: string; deadlineMs: number; rows: number; bytes: number; queueIndex: number };

function entry(bucket: string, deadlineMs: number, rows = 1): Entry {
  return { bucket, deadlineMs, rows, bytes: 0, queueIndex: -1 };
}
const LIMITS = { rowsMax: 4, itemsMax: 3, bytesMax: Infinity };

test("a batch comes from the bucket of the most urgent entry and holds no other bucket's", () => {
  const queue = new BucketQueue<Entry>();
  for (const one of [entry("a", 3), entry("b", 2), entry("a", 1), entry("b", 4)]) queue.push(one);
  expect(queue.headRows).toBe(2);
  expect(queue.take(LIMITS, []).map((e) => e.deadlineMs)).toEqual([1, 3]);
  expect(queue.take(LIMITS, []).map((e) => e.deadlineMs)).toEqual([2, 4]);
  expect(queue.take(LIMITS, [])).toEqual([]);
  expect(queue).toMatchObject({ head: undefined, rows: 0, headRows: 0 });
});

test("of entries with equal deadlines in different buckets, the one that came first is the head, whatever stood before it", () => {
  const queue = new BucketQueue<Entry>();
  const [first, second, urgent] = [entry("a", 4), entry("b", 4), entry("a", 0)];
  for (const one of [first, second, urgent]) queue.push(one);
  queue.remove(urgent);
  expect(queue.head).toBe(first);
});

/** Few, so that many are equal. */
const DEADLINE_MS = fc.constantFrom(0, 10, 20, 30);

test("the head is the earliest over all buckets, whatever comes and goes", () => {
  const added = fc.record({
    bucket: fc.constantFrom("", "2", "3"),
    deadlineMs: DEADLINE_MS,
    rows: fc.integer({ min: 1, max: 5 }),
  });
  // More comes than goes: most of the time something waits in each.
  const step = fc.oneof({ arbitrary: added, weight: 4 }, fc.constant("take" as const), fc.nat(20));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const queue = new BucketQueue<Entry>();
      let inside: Entry[] = [];
      for (const one of steps) {
        if (one === "take") {
          const batch = queue.take(LIMITS, []);
          inside = inside.filter((e) => !batch.includes(e));
          const last = Math.max(...batch.map((e) => e.deadlineMs));
          for (const { bucket } of batch) expect(bucket).toBe(batch[0]!.bucket);
          for (const e of inside) if (e.bucket === batch[0]!.bucket) expect(e.deadlineMs).toBeGreaterThanOrEqual(last);
        } else if (typeof one === "number") {
          const [removed] = inside.splice(one % Math.max(1, inside.length), 1);
          if (removed === undefined) continue;
          expect(queue.remove(removed)).toBe(true);
          expect(queue.remove(removed)).toBe(false);
        } else {
          const added = entry(one.bucket, one.deadlineMs, one.rows);
          queue.push(added);
          inside.push(added);
        }
        // Of equal deadlines the first that came.
        const sorted = inside.toSorted((a, b) => a.deadlineMs - b.deadlineMs);
        expect(queue.head).toBe(sorted[0]);
        expect([...(queue.order ?? [])]).toEqual(sorted);
        for (const deadlineMs of [0, 10, 25, 31]) {
          const before = inside.filter((e) => e.deadlineMs <= deadlineMs);
          expect(queue.order?.rowsBefore(deadlineMs) ?? 0).toBe(before.reduce((sum, e) => sum + e.rows, 0));
        }
        expect(queue.rows).toBe(inside.reduce((sum, e) => sum + e.rows, 0));
      }
    }),
  );
});

type Loose = Entry & { isLoose: boolean; order: number };

/** What leaves next, of the entries of a bucket that stand in the order of their deadlines. */
function nextOf(sorted: readonly Loose[]): Loose | undefined {
  return sorted[0]?.isLoose === true ? sorted.at(-1) : sorted[0];
}

test("the newest first: what binds leaves by its deadline, then the loose from the latest on", () => {
  const step = fc.oneof(
    fc.record({
      bucket: fc.constantFrom("", "2"),
      deadlineMs: DEADLINE_MS,
      isLoose: fc.boolean(),
      rows: fc.integer({ min: 1, max: 3 }),
    }),
    fc.constantFrom("take" as const, "remove" as const),
  );
  let [looseFirst, boundFirst] = [0, 0];
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = new BucketQueue<Loose>();
      queue.newestFirst = true;
      let inside: Loose[] = [];
      const drop = (gone: readonly Loose[]): void => void (inside = inside.filter((one) => !gone.includes(one)));
      for (const [order, one] of steps.entries()) {
        if (one === "take") {
          const head = queue.head;
          const lane = inside.filter(({ bucket }) => bucket === head?.bucket);
          expect(queue.headRows).toBe(lane.reduce((sum, { rows }) => sum + rows, 0));
          const batch = queue.take(LIMITS, []);
          expect(batch[0]).toBe(head);
          if (head?.isLoose === true) looseFirst++;
          if (head?.isLoose === false) boundFirst++;
          for (const taken of batch) {
            const rest = inside.filter(({ bucket }) => bucket === taken.bucket);
            expect(taken).toBe(nextOf(rest));
            drop([taken]);
          }
        } else if (one === "remove") {
          const [removed] = inside;
          if (removed === undefined) continue;
          expect(queue.remove(removed)).toBe(true);
          drop([removed]);
        } else {
          const added = { ...entry(one.bucket, one.deadlineMs, one.rows), isLoose: one.isLoose, order };
          queue.push(added);
          inside = [...inside, added].sort((a, b) => a.deadlineMs - b.deadlineMs || a.order - b.order);
        }
        const loose = inside.filter(({ isLoose }) => isLoose);
        expect([...(queue.loose ?? [])]).toEqual(loose);
        const [earliest] = inside;
        expect(queue.earliest).toBe(earliest);
        const newest = inside.filter(({ bucket }) => bucket === loose.at(-1)?.bucket);
        expect(queue.head).toBe(earliest?.isLoose === true ? nextOf(newest) : earliest);
      }
    }),
    { numRuns: 1000 },
  );
  expect(Math.min(looseFirst, boundFirst)).toBeGreaterThan(20);
});

import { expect, test } from "vitest";
import { takeBatch } from "./batch.ts";
import { EdfQueue } from "./edf-queue.ts";

type Entry = { deadlineMs: number; rows: number; bytes: number; queueIndex: number };

function queueOf(...entries: [deadlineMs: number, rows: number, given?: Partial<Entry>][]): EdfQueue<Entry> {
  const queue = new EdfQueue<Entry>();
  for (const [deadlineMs, rows, given] of entries) queue.push({ deadlineMs, rows, bytes: 0, queueIndex: -1, ...given });
  return queue;
}
const deadlines = (batch: Entry[]): number[] => batch.map((e) => e.deadlineMs);
const limits = { rowsMax: 8, itemsMax: 4, bytesMax: 100 };

test("rows are counted, not requests", () => {
  const queue = queueOf([3, 5], [1, 4], [2, 4], [4, 1]);
  expect(deadlines(takeBatch(queue, limits))).toEqual([1, 2]);
  expect(deadlines(takeBatch(queue, limits))).toEqual([3, 4]);
  expect(takeBatch(queue, limits)).toEqual([]);
});

test("the items of a batch are bounded too, and their bytes", () => {
  expect(takeBatch(queueOf([1, 1], [2, 1], [3, 1], [4, 1], [5, 1]), limits)).toHaveLength(4);
  const queue = queueOf([1, 1, { bytes: 60 }], [2, 1, { bytes: 40 }], [3, 1, { bytes: 1 }]);
  expect(deadlines(takeBatch(queue, limits))).toEqual([1, 2]);
});

test("an entry that is too large leaves alone instead of blocking the queue", () => {
  expect(deadlines(takeBatch(queueOf([1, 99], [2, 1]), limits))).toEqual([1]);
  expect(deadlines(takeBatch(queueOf([1, 1, { bytes: 101 }], [2, 1]), limits))).toEqual([1]);
});

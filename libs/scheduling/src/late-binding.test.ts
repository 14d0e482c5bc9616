import { expect, test } from "vitest";
import { isDue, type RunningBatch, sendAtMs } from "./late-binding.ts";

const HAND_OVER_MS = 0.5;

function running(given: Partial<RunningBatch> = {}): RunningBatch {
  return { rows: 8, predictedMs: 20, predictedEndMs: 100, ...given };
}

test("a batch leaves for an idle slot at once, for a busy one at its predicted end minus the hand-over", () => {
  expect(sendAtMs(undefined, HAND_OVER_MS, 90)).toBe(-Infinity);
  expect(sendAtMs(running(), HAND_OVER_MS, 90)).toBe(99.5);
});

test("nothing is sent behind a batch of which nobody knows when it ends", () => {
  const unknown = running({ predictedMs: Infinity, predictedEndMs: Infinity });
  expect(sendAtMs(unknown, HAND_OVER_MS, 90)).toBe(Infinity);
  expect(sendAtMs(running(), HAND_OVER_MS, 105)).toBe(99.5);
  expect(sendAtMs(running(), HAND_OVER_MS, 105.1)).toBe(Infinity);
  expect(sendAtMs(running({ predictedMs: 0.1 }), HAND_OVER_MS, 101)).toBe(99.5);
  expect(sendAtMs(running({ predictedMs: 0.1 }), HAND_OVER_MS, 101.1)).toBe(Infinity);
});

test("what is nearer than a timer can tell leaves now if it is worth a place behind what runs", () => {
  const batch = { atMs: 100, rows: 8, rowsMax: 64 };
  expect(isDue(batch, running(), 98.9)).toBe(false);
  expect(isDue(batch, running(), 99)).toBe(true);
  expect(isDue({ ...batch, rows: 7 }, running(), 99)).toBe(false);
  expect(isDue({ ...batch, rows: 7, rowsMax: 7 }, running(), 99)).toBe(true);
});

test("what is due leaves, however small", () => {
  expect(isDue({ atMs: 100, rows: 1, rowsMax: 64 }, running(), 100)).toBe(true);
  expect(isDue({ atMs: -Infinity, rows: 1, rowsMax: 64 }, undefined, 0)).toBe(true);
});

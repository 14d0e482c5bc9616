import { expect, test } from "vitest";
import type { Job } from "./job.ts";
import { BATCHES_PER_SLOT, Slot } from "./slot.ts";

const job = (batch: number): Job => ({ batch }) as Job;

function slotWith(...batches: number[]): Slot {
  const slot = new Slot(0);
  slot.resetCredit();
  for (const batch of batches) slot.stage(job(batch));
  return slot;
}

test("one batch runs, the others wait in order", () => {
  const slot = slotWith(1, 2, 3);
  expect(slot.startNext()?.batch).toBe(1);
  expect(slot.startNext()).toBeUndefined();
  expect([slot.outstanding, slot.find(1)?.batch, slot.find(3)?.batch, slot.find(9)]).toEqual([3, 1, 3, undefined]);
  slot.finish();
  expect(slot.startNext()?.batch).toBe(2);
});

test("what is granted is what was retired, and two more", () => {
  const slot = slotWith(1, 2);
  expect(slot.granted).toBe(BATCHES_PER_SLOT);
  slot.startNext();
  slot.finish();
  expect(slot.granted).toBe(BATCHES_PER_SLOT + 1);
  expect(slot.unstage().map(({ batch }) => batch)).toEqual([2]);
  expect([slot.granted, slot.outstanding]).toEqual([BATCHES_PER_SLOT + 2, 0]);
});

test("a new session is not granted the place of a batch that still runs for the old one, until it ends", () => {
  const slot = slotWith(1, 2);
  slot.startNext();
  slot.resetCredit();
  expect([slot.granted, slot.outstanding]).toEqual([1, 1]);
  slot.finish();
  expect([slot.granted, slot.outstanding]).toEqual([2, 0]);
});

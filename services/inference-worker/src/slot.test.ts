import { expect, test } from "vitest";
import type { Job, Session } from "./job.ts";
import { Slot } from "./slot.ts";

const A: Session = { broker: "a", granted: [] };
const B: Session = { broker: "b", granted: [] };

function slotWith(...jobs: readonly (readonly [Session, number])[]): Slot {
  const slot = new Slot(0);
  for (const [session, batch] of jobs) slot.stage({ batch, session } as Job);
  return slot;
}

test("one batch runs, the others wait in order, whoever sent them", () => {
  const slot = slotWith([A, 1], [B, 1], [A, 2]);
  expect(slot.startNext()).toMatchObject({ batch: 1, session: A });
  expect(slot.startNext()).toBeUndefined();
  expect(slot.outstanding).toBe(3);
  slot.finish();
  expect(slot.startNext()).toMatchObject({ batch: 1, session: B });
  slot.finish();
  expect(slot.startNext()).toMatchObject({ batch: 2, session: A });
});

test("a batch is found by its session and number", () => {
  const slot = slotWith([A, 1], [B, 1], [A, 2]);
  slot.startNext();
  expect([slot.find(A, 1)?.session, slot.find(B, 1)?.session, slot.find(A, 2)?.batch]).toEqual([A, B, 2]);
  expect([slot.find(B, 2), slot.find({ ...A }, 1)]).toEqual([undefined, undefined]);
});

test("what one session has staged is taken out, what runs and what others sent stays", () => {
  const slot = slotWith([A, 1], [B, 1], [A, 2], [B, 2]);
  slot.startNext();
  expect(slot.unstage(A).map(({ batch }) => batch)).toEqual([2]);
  expect([slot.outstanding, slot.running?.batch]).toEqual([3, 1]);
  slot.finish();
  expect(slot.startNext()).toMatchObject({ batch: 1, session: B });
});

test("a new session is not granted the place of a batch that still runs for an older one of the same broker", () => {
  const slot = slotWith([A, 1]);
  slot.startNext();
  expect([slot.windowOf("a"), slot.windowOf("b")]).toEqual([1, 2]);
  slot.finish();
  expect(slot.windowOf("a")).toBe(2);
});

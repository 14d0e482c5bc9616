import fc from "fast-check";
import { expect, test } from "vitest";
import { planSlots, type SlotWish } from "./slot-plan.ts";

/** `instances`: 0 for a model that says nothing of them, undefined for one that cannot be served. */
function found(instances: number | undefined): SlotWish {
  return { state: instances === undefined ? "failed" : "found", manifest: { instances: instances ?? 0 } };
}

test("without instances each slot has each model", () => {
  expect(planSlots([found(0), found(0)], 2)).toEqual({
    slots: 2,
    slotsOf: [
      [0, 1],
      [0, 1],
    ],
  });
  expect(planSlots([], 1)).toEqual({ slots: 1, slotsOf: [] });
});

test("the one that needs most decides how many slots there are, and others go where there is least", () => {
  expect(planSlots([found(0), found(3), found(0), found(2), found(undefined)], 1)).toEqual({
    slots: 3,
    slotsOf: [[0], [0, 1, 2], [1], [0, 2], []],
  });
});

test("each has as many slots as it asks for, ascending, and slots hold equally many, within one, where all ask for one", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 9 })), fc.integer({ min: 1, max: 9 }), (instances, slots) => {
      const plan = planSlots(instances.map(found), slots);
      expect(plan.slots).toBe(Math.max(slots, ...instances));
      for (const [i, own] of plan.slotsOf.entries()) {
        expect(own).toHaveLength(instances[i] || slots);
        expect(own).toEqual([...new Set(own)].sort((a, b) => a - b));
        expect(own.every((slot) => slot >= 0 && slot < plan.slots)).toBe(true);
      }
      const ones = planSlots(
        instances.map(() => found(1)),
        slots,
      );
      const held = Array.from({ length: slots }, (_, slot) => ones.slotsOf.filter((own) => own.includes(slot)).length);
      expect(Math.max(...held) - Math.min(...held)).toBeLessThanOrEqual(1);
    }),
  );
});

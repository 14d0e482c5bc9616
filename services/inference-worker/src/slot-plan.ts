import type { Manifest } from "./manifest.ts";

/** A model of the repository, as far as its slots go. */
export type SlotWish = { readonly state: "found" | "failed"; readonly manifest: Pick<Manifest, "instances"> };

/** How many slots a worker has, and which of them hold a copy of each model, by its place in the list. */
export type SlotPlan = { readonly slots: number; readonly slotsOf: readonly (readonly number[])[] };

/**
 * Gives each model as many slots as its `instances` say, or `slots` of them where it says nothing; the worker has as many as its
 * largest needs, at least `slots`. Models that do not take all slots go to those that hold the fewest copies so far, in the order of the
 * list. What cannot be served holds nothing.
 */
export function planSlots(found: readonly SlotWish[], slots: number): SlotPlan {
  const wanted = found.map((one) => (one.state === "failed" ? 0 : one.manifest.instances || slots));
  const copies = Array.from({ length: Math.max(slots, ...wanted) }, () => 0);
  const slotsOf = wanted.map((instances) => {
    const own = copies
      .map((held, slot) => ({ held, slot }))
      .sort((a, b) => a.held - b.held || a.slot - b.slot)
      .slice(0, instances)
      .map(({ slot }) => slot)
      .sort((a, b) => a - b);
    for (const slot of own) copies[slot]!++;
    return own;
  });
  return { slots: copies.length, slotsOf };
}

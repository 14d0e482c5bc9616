import { expect, test } from "vitest";
import { BusyShare } from "./busy-share.ts";

test("what is busy counts at once, what was busy fades over a second, and no slots are never free", () => {
  const share = new BusyShare();
  expect(share.of(0, 0)).toBe(1);
  expect(share.of(4, 0)).toBe(0);
  share.add(3, 1_000);
  expect(share.of(4, 1_000)).toBe(0.75);
  share.add(-3, 11_000);
  expect(share.of(4, 11_000)).toBeCloseTo(0.75, 3);
  expect(share.of(4, 12_000)).toBeCloseTo(0.75 * Math.exp(-1), 3);
  // A moment of work is not much over a second.
  share.add(2, 30_000);
  share.add(-2, 30_100);
  expect(share.of(4, 30_100)).toBeCloseTo(0.5 * (1 - Math.exp(-0.1)), 3);
});

import { expect, test } from "vitest";
import { Ring } from "./ring.ts";

test("what it holds is told from the oldest to the newest, before and after it has wrapped", () => {
  const ring = new Ring(2, 3);
  expect(ring.columns()).toEqual([[], []]);
  for (const [count, expected] of [
    [1, [[1], [10]]],
    [
      2,
      [
        [1, 2],
        [10, 20],
      ],
    ],
    [
      3,
      [
        [1, 2, 3],
        [10, 20, 30],
      ],
    ],
    [
      4,
      [
        [2, 3, 4],
        [20, 30, 40],
      ],
    ],
    [
      5,
      [
        [3, 4, 5],
        [30, 40, 50],
      ],
    ],
    [
      6,
      [
        [4, 5, 6],
        [40, 50, 60],
      ],
    ],
    [
      7,
      [
        [5, 6, 7],
        [50, 60, 70],
      ],
    ],
  ] as const) {
    ring.push([count, 10 * count]);
    expect(ring.columns()).toEqual(expected);
    expect(ring.length).toBe(Math.min(3, count));
  }
});

test("what a sample leaves out is not a number", () => {
  const ring = new Ring(2, 3);
  ring.push([1]);
  expect(ring.columns()).toEqual([[1], [Number.NaN]]);
});

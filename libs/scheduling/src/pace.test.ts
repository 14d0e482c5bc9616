import { expect, test } from "vitest";
import { Pace } from "./pace.ts";

/** Takes so many runs that all take `ratio` times as long as is usual. */
function run(pace: Pace, times: number, ratio: number): void {
  for (let i = 0; i < times; i++) pace.take({ rows: 1, computeMs: ratio, ratio });
}

test("six slower runs in a row are a new pace, and three faster ones", () => {
  const pace = new Pace();
  run(pace, 5, 3);
  expect(pace.factor).toBe(1);
  run(pace, 1, 3);
  expect(pace.factor).toBe(3);
  run(pace, 2, 0.5);
  expect(pace.factor).toBe(3);
  run(pace, 1, 0.5);
  expect(pace.factor).toBe(1.5);
});

test("a pace that is all but the first one is the first one: spells that come and go leave no trace", () => {
  for (const back of [1 / 2.8, 1 / 3.2]) {
    const pace = new Pace();
    run(pace, 6, 3);
    run(pace, 3, back);
    expect(pace.factor).toBe(1);
  }
});

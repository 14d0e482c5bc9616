import { expect, test } from "vitest";
import { Bisection } from "./bisection.ts";

function search(truth: number, expected: number): { readonly found: number; readonly asked: number } {
  const bisection = new Bisection({ expected, high: 1.1 * expected, resolution: 0.01 * expected });
  let asked = 0;
  for (let rate = bisection.next(); rate !== undefined; rate = bisection.next()) {
    bisection.told(rate, rate <= truth);
    asked += 1;
  }
  return { found: bisection.found, asked };
}

test.for([0.001, 0.2, 0.45, 0.7, 0.93, 0.96, 0.99, 1.02, 1.09])(
  "what holds up to %s of what is expected is found to one part in a hundred",
  (share) => {
    const { found, asked } = search(1000 * share, 1000);
    expect(found).toBeLessThanOrEqual(1000 * share);
    expect(1000 * share - found).toBeLessThanOrEqual(10);
    expect(asked).toBeLessThanOrEqual(share < 0.8 ? 13 : 7);
  },
);

test("what never holds is 0", () => {
  expect(search(0, 1000).found).toBe(0);
});

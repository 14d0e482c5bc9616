import fc from "fast-check";
import { expect, test } from "vitest";
import { ClassShares } from "./class-shares.ts";

const always = (): boolean => true;

test("a class that waits has a turn once it is owed one, and never two in a row", () => {
  const shares = new ClassShares([8, 1, 1]);
  for (let i = 0; i < 9; i++) {
    expect(shares.isDue(1, 4)).toBe(false);
    shares.took([4, 0, 0], { waits: always, isTurn: false });
  }
  shares.took([4, 0, 0], { waits: always, isTurn: false });
  expect([shares.isDue(1, 4), shares.isDue(2, 4), shares.isDue(2, 5)]).toEqual([true, true, false]);
  shares.took([0, 4, 0], { waits: always, isTurn: true });
  expect([shares.isDue(1, 4), shares.isDue(2, 4)]).toEqual([false, false]);
  shares.took([4, 0, 0], { waits: always, isTurn: false });
  expect([shares.isDue(1, 4), shares.isDue(2, 4)]).toEqual([false, true]);
});

test("nothing is owed for what a class did not wait for", () => {
  const shares = new ClassShares([8, 1, 1]);
  for (let i = 0; i < 100; i++) shares.took([4, 0, 0], { waits: (index) => index === 0, isTurn: false });
  expect(shares.isDue(1, 1)).toBe(false);
});

test("whatever the batches, a class that always waits gets its share, less two of the largest batches", () => {
  const given = fc.record({
    weights: fc.tuple(fc.integer({ min: 10, max: 50 }), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 })),
    batches: fc.array(fc.integer({ min: 1, max: 16 }), { minLength: 200, maxLength: 1_000 }),
  });
  fc.assert(
    fc.property(given, ({ weights, batches }) => {
      const shares = new ClassShares(weights);
      const sum = weights.reduce((a, b) => a + b, 0);
      const got = [0, 0, 0];
      let all = 0;
      for (const rows of batches) {
        const index = shares.isDue(1, 16) ? 1 : shares.isDue(2, 16) ? 2 : 0;
        // A turn is a full batch, whatever the more urgent ones are held to by their deadlines.
        const taken = [0, 0, 0].map((_, i) => (i !== index ? 0 : index === 0 ? rows : 16));
        shares.took(taken, { waits: always, isTurn: index > 0 });
        for (const [i, n] of taken.entries()) got[i]! += n;
        all += taken[index]!;
        for (const i of [0, 1, 2]) expect(got[i]).toBeGreaterThanOrEqual((weights[i]! / sum) * all - 32);
      }
    }),
  );
});

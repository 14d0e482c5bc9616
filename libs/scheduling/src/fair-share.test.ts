import fc from "fast-check";
import { expect, test } from "vitest";
import { FairShare } from "./fair-share.ts";

type Model = { readonly account: FairShare; readonly share: number; readonly costMs: number; ranMs: number };

const model = fc.record({
  share: fc.integer({ min: 1, max: 10 }),
  costMs: fc.double({ min: 0.1, max: 100, noNaN: true }),
});

/** The furthest behind runs a batch. */
function runOne(waiting: readonly Model[]): void {
  const first = waiting.reduce((best, one) => (one.account.startMs < best.account.startMs ? one : best));
  const startMs = first.account.ran(first.costMs, first.share);
  first.ranMs += first.costMs;
  for (const { account } of waiting) account.passed(startMs);
}

function modelsOf(given: readonly { readonly share: number; readonly costMs: number }[]): Model[] {
  return given.map((one) => ({ ...one, account: new FairShare(), ranMs: 0 }));
}

test("while models wait, what they ran differs by no more than a batch of each, by their shares", () => {
  fc.assert(
    fc.property(fc.array(model, { minLength: 2, maxLength: 6 }), fc.integer({ min: 1, max: 300 }), (given, batches) => {
      const models = modelsOf(given);
      for (let i = 0; i < batches; i++) runOne(models);
      for (const a of models) {
        for (const b of models) {
          const most = a.costMs / a.share + b.costMs / b.share;
          expect(a.ranMs / a.share - b.ranMs / b.share).toBeLessThanOrEqual(most + 1e-6);
        }
      }
    }),
  );
});

test("who rested has neither saved up nor lost: it begins where the others are", () => {
  fc.assert(
    fc.property(model, model, fc.integer({ min: 1, max: 200 }), (a, b, batches) => {
      const [one, rested] = modelsOf([a, b]) as [Model, Model];
      rested.account.wakes();
      for (let i = 0; i < batches; i++) {
        const startMs = one.account.ran(one.costMs, one.share);
        rested.account.passed(startMs);
      }
      rested.account.wakes();
      expect(rested.account.startMs).toBeCloseTo(one.account.startMs - one.costMs / one.share, 6);
    }),
  );
});

test("a batch that took longer than was said is paid for in full", () => {
  const account = new FairShare();
  account.ran(10, 2);
  account.settle(6, 2);
  expect(account.startMs).toBe(8);
});

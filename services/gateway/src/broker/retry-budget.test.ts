import fc from "fast-check";
import { expect, test } from "vitest";
import { RetryBudget } from "./retry-budget.ts";

function takes(budget: RetryBudget, nowMs: number): number {
  let count = 0;
  while (budget.take(nowMs)) count++;
  return count;
}

test("a share of the last ten seconds' requests and a floor, both of which come back", () => {
  const budget = new RetryBudget({ retryPercentMax: 10, retriesMin: 5 });
  expect(takes(budget, 100)).toBe(5);
  for (let i = 0; i < 1000; i++) budget.count(2000);
  expect(takes(budget, 2500)).toBe(100);
  // The five of the first second are forgotten, the requests of the third are not.
  expect(takes(budget, 10_500)).toBe(5);
  expect(takes(budget, 11_999)).toBe(0);
  // Neither requests nor retries of the third second count any more, only the five of 10.5 s.
  expect(takes(budget, 12_000)).toBe(0);
  expect(takes(budget, 20_000)).toBe(5);
  expect(takes(budget, 1e9)).toBe(5);
});

test("in no ten slices is more sent again than the bound says", () => {
  const event = fc.record({ ms: fc.nat(3000), requests: fc.nat(50), retries: fc.nat(20) });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 50 }), (events) => {
      const bound = { retryPercentMax: 20, retriesMin: 3 };
      const budget = new RetryBudget(bound);
      const seen: { slice: number; requests: number; retries: number }[] = [];
      let nowMs = 12_345;
      for (const { ms, requests, retries } of events) {
        nowMs += ms;
        const slice = Math.floor(nowMs / 1000);
        for (let i = 0; i < requests; i++) budget.count(nowMs);
        const now = { slice, requests, retries: 0 };
        seen.push(now);
        for (let i = 0; i < retries; i++) {
          const recent = seen.filter((one) => one.slice > slice - 10);
          const sum = (of: "requests" | "retries"): number => recent.reduce((all, one) => all + one[of], 0);
          const isAllowed = sum("retries") + 1 <= bound.retriesMin + (sum("requests") * bound.retryPercentMax) / 100;
          expect(budget.take(nowMs)).toBe(isAllowed);
          if (isAllowed) now.retries++;
        }
      }
    }),
  );
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { LateMargin } from "./late-margin.ts";

const BUDGET_MS = 1e6;

test("the margin is what 49 of 50 of the latest 256 batches were late by, at most", () => {
  const margin = new LateMargin();
  expect(margin.of(BUDGET_MS)).toBe(0);
  for (let i = 0; i < 256; i++) margin.record((i * 67) % 256, BUDGET_MS);
  expect(margin.of(BUDGET_MS)).toBe(249);
  for (let i = 0; i < 255; i++) margin.record(3, BUDGET_MS);
  expect(margin.of(BUDGET_MS)).toBe(3);
});

test("it is never negative, takes a tenth of a budget at most, and one late batch among few is chance", () => {
  const margin = new LateMargin();
  margin.record(50, BUDGET_MS);
  expect(margin.of(BUDGET_MS)).toBe(0);
  for (let i = 0; i < 256; i++) margin.record(-5, BUDGET_MS);
  expect(margin.of(BUDGET_MS)).toBe(0);
  for (let i = 0; i < 256; i++) margin.record(50, BUDGET_MS);
  expect(margin.of(BUDGET_MS)).toBe(50);
  expect(margin.of(200)).toBe(20);
  for (const ms of [NaN, Infinity, -Infinity]) margin.record(ms, BUDGET_MS);
  expect(margin.of(BUDGET_MS)).toBe(50);
});

test("what is left of a budget never falls when the budget grows", () => {
  const times = fc.array(fc.double({ min: -100, max: 100, noNaN: true }), { minLength: 1, maxLength: 600 });
  fc.assert(
    fc.property(times, fc.tuple(fc.nat(10_000), fc.nat(10_000)), (latesMs, budgets) => {
      const margin = new LateMargin();
      for (const ms of latesMs) margin.record(ms, BUDGET_MS);
      const [less, more] = budgets.sort((a, b) => a - b);
      expect(less - margin.of(less)).toBeLessThanOrEqual(more - margin.of(more) + 1e-9);
      const latest = latesMs.slice(-256).sort((a, b) => a - b);
      expect(margin.ms).toBe(Math.max(0, latest[Math.floor(0.98 * latest.length) - 1] ?? 0));
    }),
  );
});

test("what a tenth of the budget cannot save does not count", () => {
  const margin = new LateMargin();
  for (let i = 0; i < 256; i++) margin.record(2, 200);
  for (let i = 0; i < 256; i++) margin.record(300, 200);
  expect(margin.of(200)).toBe(2);
  for (let i = 0; i < 256; i++) margin.record(20, 200);
  expect(margin.of(200)).toBe(20);
});

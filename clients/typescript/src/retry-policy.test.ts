import { expect, test } from "vitest";
import { RetryPolicy, retryAfterMs } from "./retry-policy.ts";

const refusal = { status: 429, attempts: 1, retryAfterMs: 1_000, leftMs: 60_000 };

test("only 429 and 503 are sent again, so many times, and only if there is time left", () => {
  const policy = new RetryPolicy(2);
  expect(policy.waitMs(refusal, 0)).toBe(1_000);
  expect(policy.waitMs({ ...refusal, status: 503 }, 0.5)).toBe(1_100);
  for (const status of [400, 404, 408, 500, 502, 504]) expect(policy.waitMs({ ...refusal, status }, 0)).toBeUndefined();
  expect(policy.waitMs({ ...refusal, attempts: 2 }, 0)).toBe(1_000);
  expect(policy.waitMs({ ...refusal, attempts: 3 }, 0)).toBeUndefined();
  expect(policy.waitMs({ ...refusal, leftMs: 1_000 }, 0)).toBeUndefined();
  expect(new RetryPolicy(0).waitMs(refusal, 0)).toBeUndefined();
});

test("without a time from the server the wait grows, is random and bounded", () => {
  const policy = new RetryPolicy(100);
  const wait = (attempts: number, random: number): number | undefined =>
    policy.waitMs({ ...refusal, attempts, retryAfterMs: undefined }, random);
  expect([wait(1, 0.5), wait(2, 0.5), wait(3, 0.25), wait(50, 0.5)]).toEqual([50, 100, 100, 2_500]);
});

test("a client whose calls are refused comes to an end of its retries, and earns them by successes", () => {
  const policy = new RetryPolicy(1);
  const granted = (calls: number): number =>
    Array.from({ length: calls }, () => policy.waitMs(refusal, 0)).filter((wait) => wait !== undefined).length;
  expect(granted(100)).toBe(10);
  for (let success = 0; success < 31; success++) policy.succeeded();
  expect(granted(100)).toBe(3);
  for (let success = 0; success < 10_000; success++) policy.succeeded();
  expect(granted(100)).toBe(10);
});

test("Retry-After is seconds or a date", () => {
  const nowMs = Date.parse("2026-01-01T00:00:00Z");
  const of = (header: string | null): number | undefined => retryAfterMs(header, nowMs);
  expect(of("3")).toBe(3_000);
  expect(of("Thu, 01 Jan 2026 00:00:07 GMT")).toBe(7_000);
  expect(of("Thu, 01 Jan 2025 00:00:07 GMT")).toBe(0);
  expect([of(null), of(""), of("soon")]).toEqual([undefined, undefined, undefined]);
});

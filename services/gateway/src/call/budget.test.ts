import { expect, test } from "vitest";
import { readTimeoutHeader, timeoutOf } from "./budget.ts";
import { Refusal } from "../http/refusal.ts";

const bounds = { requestTimeoutMs: 5000, requestTimeoutMsMax: 10_000 };

test("the header wins over the parameter, that over the model, that over the option; the bound caps all", () => {
  expect(timeoutOf({ headerMs: 1, parameterMs: 2, modelMs: 3 }, bounds)).toBe(1);
  expect(timeoutOf({ headerMs: 0, parameterMs: 2, modelMs: 3 }, bounds)).toBe(2);
  expect(timeoutOf({ headerMs: 0, parameterMs: 0, modelMs: 3 }, bounds)).toBe(3);
  expect(timeoutOf({ headerMs: 0, parameterMs: 0, modelMs: 0 }, bounds)).toBe(5000);
  expect(timeoutOf({ headerMs: 99_999, parameterMs: 0, modelMs: 0 }, bounds)).toBe(10_000);
});

test("the header is a whole number of 1 or more", () => {
  expect(readTimeoutHeader(undefined)).toBe(0);
  expect(readTimeoutHeader("250")).toBe(250);
  for (const text of ["", "0", "-1", "1.5", "1e3", " 5", "5, 6", "abc", "9".repeat(16)]) {
    expect(readTimeoutHeader(text)).toBeInstanceOf(Refusal);
  }
});

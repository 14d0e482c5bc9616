import { ERROR_CODES, type ErrorCode } from "@millrace/protocol";
import { expect, test } from "vitest";
import { errorResponse } from "./error-response.ts";
import { Refusal } from "./refusal.ts";
import { requestIdOf } from "./request-id.ts";

test("every code has the status of its row, and Retry-After where waiting helps", () => {
  for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
    const { status, headers, body } = errorResponse(new Refusal(code, 'why "so"', 1500));
    expect(status).toBe(ERROR_CODES[code].http);
    expect(JSON.parse(body)).toEqual({ error: 'why "so"', code });
    expect(headers.includes("retry-after")).toBe(status === 429 || status === 503);
    if (headers.includes("retry-after")) expect(headers.slice(0, 2)).toEqual(["retry-after", "2"]);
    expect(headers.includes("www-authenticate")).toBe(status === 401);
  }
  expect(errorResponse(new Refusal("shed", "", 0)).headers).toEqual(["retry-after", "1"]);
  expect(errorResponse(new Refusal("draining", "")).headers).toEqual(["retry-after", "1", "connection", "close"]);
});

test("sane request ids are kept, others are replaced, made ones differ", () => {
  expect(requestIdOf("a-b_c.1:2/3+4=@")).toBe("a-b_c.1:2/3+4=@");
  for (const id of [undefined, "", "a b", 'a"', "ä", "a\n", "x".repeat(129)]) expect(requestIdOf(id)).not.toBe(id);
  expect(requestIdOf(undefined)).not.toBe(requestIdOf(undefined));
  expect(requestIdOf(requestIdOf(undefined))).toMatch(/^[0-9a-f]{12}-/);
});

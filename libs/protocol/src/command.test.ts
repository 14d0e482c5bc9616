import { expect, test } from "vitest";
import { type Command, commandOfNumber, COMMANDS } from "./command.ts";
import { ERROR_CODES, type ErrorCode, errorCodeOf } from "./error-code.ts";

test("command numbers are octets, used once, and lead back to their command", () => {
  const names = Object.keys(COMMANDS) as Command[];
  expect(new Set(names.map((name) => COMMANDS[name].number)).size).toBe(names.length);
  for (const name of names) {
    const { number } = COMMANDS[name];
    expect(number).toBeGreaterThan(0);
    expect(number).toBeLessThan(256);
    expect(commandOfNumber(number)).toBe(name);
  }
  for (const number of [0, 0x7f, 0xff, 256, -1]) expect(commandOfNumber(number)).toBeUndefined();
});

test("error numbers are used once and lead back to their code; 0 is no error, and unknown ones are internal", () => {
  const codes = Object.keys(ERROR_CODES) as ErrorCode[];
  expect(new Set(codes.map((code) => ERROR_CODES[code].number)).size).toBe(codes.length);
  for (const code of codes) {
    expect(ERROR_CODES[code].number).toBeGreaterThan(0);
    expect(errorCodeOf(ERROR_CODES[code].number)).toBe(code);
  }
  for (const number of [0, 999, 2 ** 53 - 1]) expect(errorCodeOf(number)).toBe("internal");
});

test("every error has an HTTP status of an error, and what may succeed later says so", () => {
  for (const [code, { http, retryable }] of Object.entries(ERROR_CODES)) {
    expect([code, http >= 400 && http < 600]).toEqual([code, true]);
    if (http === 429 || http === 503) expect([code, retryable]).toEqual([code, true]);
  }
});

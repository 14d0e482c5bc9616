import { expect, test } from "vitest";
import { readPriorityHeader } from "./priority.ts";
import { Refusal } from "../http/refusal.ts";

test.each([
  [undefined, 0],
  ["realtime", 1],
  ["interactive", 2],
  ["batch", 3],
  ["u=0", 1],
  ["u=1", 0],
  ["u=3, i", 0],
  [" u=5 ,i=?0", 3],
  ["i", 0],
  ["u=7", 3],
  ["other=1;q=2, u=6", 3],
])("the header %j asks for %j", (text, priority) => {
  expect(readPriorityHeader(text)).toBe(priority);
});

test.each(["", "u", "u=8", "u=-1", "u=0.5", "u=", "urgent!", "urgent", "REALTIME", "u=0,,", "realtime, u=9", "é"])(
  "the header %j is refused",
  (text) => {
    expect(readPriorityHeader(text)).toMatchObject({
      code: "invalid_request",
      message: `priority must be one of realtime, interactive, batch, or u=0 to u=7 as in RFC 9218; it is ${JSON.stringify(text)}`,
    });
    expect(readPriorityHeader(text)).toBeInstanceOf(Refusal);
  },
);

test("a header of blanks is read in linear time", () => {
  const startedMs = performance.now();
  for (const text of [`u=${" ".repeat(30_000)}x`, `${" ".repeat(30_000)}u=0${" ".repeat(30_000)}x`]) {
    expect(readPriorityHeader(text)).toBeInstanceOf(Refusal);
  }
  expect(performance.now() - startedMs).toBeLessThan(1_000);
});

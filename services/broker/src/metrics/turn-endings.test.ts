import { expect, test } from "vitest";
import { TurnEndings } from "./turn-endings.ts";

test("every ending is recorded once, when the turn is over, however many there are", () => {
  const seen: number[] = [];
  const recorder = { end: (_: string, receivedMs: number, nowMs: number) => void seen.push(nowMs - receivedMs) };
  const endings = new TurnEndings();
  for (let i = 0; i < 5_000; i++) endings.add(recorder, "ok", i);
  expect(seen).toEqual([]);
  endings.end(10_000);
  endings.end(20_000);
  expect(seen).toEqual(Array.from({ length: 5_000 }, (_, i) => 10_000 - i));
});

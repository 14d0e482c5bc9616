import type { MessageOf, ModelTotals } from "@millrace/protocol";
import { expect, test } from "vitest";
import { TotalsDesk } from "./totals-desk.ts";

function told(ask: number, counter: string, requests: number): MessageOf<"TOTALS"> {
  const counts = { requests, failures: 0, rows: requests, batches: 1, requestUs: 0, failureUs: 0 };
  const times = { queueUs: 0, inputUs: 0, computeUs: 0, outputUs: 0, idleMs: 0 };
  return { command: "TOTALS", ask, entries: [{ counter, model: "m", version: "1", ...counts, ...times }] };
}

function deskOf() {
  const heard: (number | undefined)[] = [];
  const onTotals = ([first]: readonly ModelTotals[]): void => void heard.push(first?.requests);
  return { desk: new TotalsDesk(), heard, onTotals };
}

test("an ask ends when all brokers have answered, once, with the sum", () => {
  const { desk, heard, onTotals } = deskOf();
  const ask = desk.ask(["x", "y"], onTotals);
  desk.told("x", told(ask, "a", 3), 0);
  expect(heard).toEqual([]);
  desk.told("x", told(ask, "a", 4), 0);
  desk.told("y", told(ask + 1, "b", 1), 0);
  expect(heard).toEqual([]);
  desk.told("y", told(ask, "b", 2), 0);
  desk.told("y", told(ask, "b", 9), 0);
  desk.giveUp(ask);
  expect(heard).toEqual([6]);
});

test("a broker that is lost, or the time, ends it with what is known; what dead brokers counted stays and is told on", () => {
  const { desk, heard, onTotals } = deskOf();
  const first = desk.ask(["x"], onTotals);
  desk.told("x", told(first, "a", 5), 100);
  const second = desk.ask(["x", "y"], onTotals);
  desk.lost("x");
  desk.lost("x");
  expect(heard).toEqual([5]);
  desk.told("y", told(second, "b", 1), 200);
  expect(heard).toEqual([5, 6]);
  const third = desk.ask(["y"], onTotals);
  expect(desk.message(third, 300).entries).toMatchObject([
    { counter: "a", requests: 5, idleMs: 200 },
    { counter: "b", requests: 1, idleMs: 100 },
  ]);
  desk.giveUp(third);
  desk.giveUp(third);
  expect(heard).toEqual([5, 6, 6]);
});

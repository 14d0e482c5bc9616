import { expect, test } from "vitest";
import { told } from "./decisions.js";
import { clock, count, duration, percent, short, span } from "./format.js";
import { History } from "./history.js";
import { PANELS } from "./panels.js";
import { stack } from "./stack.js";
import { COLUMNS } from "../columns.ts";

test.for<[number | null, string]>([
  [null, "–"],
  [Number.NaN, "–"],
  [0, "0"],
  [0.1234, "0.12"],
  [9.994, "9.99"],
  [9.96, "9.96"],
  [9.996, "10"],
  [12.34, "12.3"],
  [99.6, "100"],
  [1234.5, "1,235"],
  [9_994, "9,994"],
  [9_996, "10k"],
  [12_345, "12.3k"],
  [999_600, "1M"],
  [12_345_678, "12M"],
])("short(%s) is %s", ([value, text]) => expect(short(value)).toBe(text));

test("durations, shares, counts and spans", () => {
  expect([duration(0.123), duration(34), duration(12_340), duration(null)]).toEqual([
    "0.12 ms",
    "34 ms",
    "12.3 s",
    "–",
  ]);
  expect([percent(1), percent(0.99999), percent(0.9987), percent(0.5), percent(0), percent(NaN)]).toEqual([
    "100 %",
    "> 99.99 %",
    "99.87 %",
    "50 %",
    "0 %",
    "–",
  ]);
  expect(count(1_234_567)).toBe("1,234,567");
  expect([5, 65, 3_700, 90_000].map(span)).toEqual(["5 s", "1 min 5 s", "1 h 1 min", "1 d 1 h"]);
  expect(clock(0, true)).toMatch(/^\d\d:\d\d:00$/);
});

test("layers stand on each other; where nothing is known there is nothing", () => {
  expect(
    stack([
      [1, null, 0, null],
      [2, 5, 0, null],
    ]),
  ).toEqual([
    [1, 0, 0, null],
    [3, 5, 0, null],
  ]);
  expect(stack([])).toEqual([]);
});

test("a layer that is not zero is never too thin to be seen, and the sum stays in proportion", () => {
  expect(
    stack(
      [
        [1, 0],
        [999, 1000],
      ],
      0.02,
    ),
  ).toEqual([
    [20, 0],
    [1019, 1000],
  ]);
});

test("the history takes the whole, then sample by sample, and keeps as much as the broker", () => {
  const history = new History();
  history.reset({
    columns: ["at", "ok"],
    history: [
      [1, 2],
      [10, 20],
    ],
    windowS: 3,
  });
  history.push([3, 30]);
  history.push([4, null]);
  expect([history.column("at"), history.column("ok")]).toEqual([
    [2, 3, 4],
    [20, 30, null],
  ]);
  expect([history.nowS, history.latest("ok"), history.column("other")]).toEqual([4, null, []]);
});

test("the charts reach back as far as is asked for, or to the beginning, and over a minute at least", () => {
  const history = new History();
  expect(history.range(900)).toEqual([-60, 0]);
  const fill = (seconds: number): void => {
    const at = Array.from({ length: seconds }, (_, i) => 5_000 + i);
    history.reset({ columns: ["at"], history: [at], windowS: 900 });
  };
  fill(11);
  expect(history.range(900)).toEqual([4_950, 5_010]);
  fill(201);
  expect(history.range(900)).toEqual([5_000, 5_200]);
  expect(history.range(60)).toEqual([5_140, 5_200]);
});

test("every panel shows columns that there are", () => {
  for (const { layers, headline } of PANELS) {
    for (const { column } of layers) expect(COLUMNS).toContain(column);
    if (headline !== undefined) expect(COLUMNS).toContain(headline);
  }
});

test("a decision is told in a line: what, why, and what it was decided by", () => {
  const batch = {
    decision: "sent",
    why: "deadline",
    bound: "deadline",
    worker: "w",
    slot: 0,
    batch: 7,
    rows: 12,
    waiting_rows: 40,
  };
  const predicted = { ...batch, slack_ms: 0.4, predicted_ms: 30 };
  expect(told(predicted)).toEqual({
    level: "info",
    what: "sent 7: deadline",
    detail: "12 of 40 rows, bound by deadline, to w slot 0, slack 0.4 ms, predicted 30 ms, out",
  });
  expect(told({ ...predicted, ended: "answered", compute_ms: 33 }).detail).toMatch(/ran 33 ms, predicted 30 ms$/);
  expect(told({ ...predicted, ended: "handed_back" }).detail).toMatch(/handed back$/);
  expect(told({ ...predicted, ended: "lost" }).level).toBe("bad");
  expect(told({ decision: "refused", why: "shed", count: 27, slack_ms: -14 })).toEqual({
    level: "warn",
    what: "refused × 27: shed",
    detail: "slack -14 ms",
  });
  expect(told({ decision: "held", why: "pace", count: 1, hold_ms: 2, waiting_rows: 5, slack_ms: 9 }).detail).toBe(
    "for 2 ms, 5 rows wait, slack 9 ms",
  );
});

import { expect, test } from "vitest";
import { barPlot, linePlot, numberText, ticksOf } from "./svg-plot.ts";

test.each([
  [10, [0, 2, 4, 6, 8, 10]],
  [7, [0, 2, 4, 6, 8]],
  [23_000, [0, 5_000, 10_000, 15_000, 20_000, 25_000]],
  [0.3, [0, 0.1, 0.2, 0.3]],
  [0, [0, 1]],
])("ticks up to %d", (max, ticks) => {
  expect(ticksOf(max)).toEqual(ticks);
});

test.each([
  [12_345.6, "12,346"],
  [12.34, "12.3"],
  [1.234, "1.23"],
  [0, "0"],
])("%d is written as %s", (value, text) => {
  expect(numberText(value)).toBe(text);
});

test("a bar is as long as its share of the axis, its range is drawn, and names are escaped", () => {
  const svg = barPlot({
    title: "<title>",
    unit: "answers a second",
    bars: [{ label: "a & b", value: { median: 5, min: 2, max: 10 }, isOurs: true }],
  });
  // The axis is 430 wide, from 240 to 670, and ends at 10.
  expect(svg).toContain('<rect x="240" y="49" width="215" height="16" fill="#0b6e4f"/>');
  expect(svg).toContain('<line x1="326" y1="57" x2="670" y2="57"');
  expect(svg).toContain("&lt;title&gt;");
  expect(svg).toContain("a &amp; b");
  expect(svg).toContain("answers a second");
});

test("a line goes through its medians, evenly spaced along what occurs", () => {
  const at = (x: number, median: number) => ({ x, value: { median, min: median, max: median } });
  const svg = linePlot({
    title: "t",
    x: "connections",
    unit: "ms",
    lines: [{ name: "l", points: [at(1, 0), at(256, 10)] }],
  });
  expect(svg).toContain('<polyline points="108,340 706,52"');
  expect(svg).toContain(">256</text>");
});

import type { Spread } from "./statistics.ts";

/** Plots as SVG text, with a light background of their own, so that they read the same on a dark page. */

export type Bar = { readonly label: string; readonly value: Spread; readonly isOurs: boolean };

/** Horizontal bars of medians, with a line from the lowest to the highest. `unit` names the axis. */
export type BarPlot = { readonly title: string; readonly unit: string; readonly bars: readonly Bar[] };

export type Line = {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly value: Spread }[];
};

/** Lines through medians, with ranges; `x` has a tick at each value that occurs, evenly spaced. */
export type LinePlot = {
  readonly title: string;
  readonly x: string;
  readonly unit: string;
  readonly lines: readonly Line[];
};

const WIDTH = 760;
const OURS = "#0b6e4f";
const THEIRS = "#7a8794";
const INK = "#1f2933";
const GRID = "#d9dee3";
/** Told apart by people who do not tell red from green (Okabe and Ito), and by their dashes in grey. */
const COLOURS = ["#0b6e4f", "#d55e00", "#0072b2", "#cc79a7", "#8a6d00", "#444444"] as const;
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 4", "1 2"] as const;

/** About five steps of 1, 2 or 5 times a power of ten, from 0 to at least `max`. */
export function ticksOf(max: number): number[] {
  if (!(max > 0)) return [0, 1];
  const raw = max / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.999) ?? raw;
  const count = Math.ceil(max / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(12)));
}

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

const round = (value: number): string => String(Number(value.toFixed(1)));

type TextStyle = { readonly anchor?: "start" | "middle" | "end"; readonly bold?: boolean; readonly size?: number };

function text(at: readonly [x: number, y: number], content: string, style: TextStyle = {}): string {
  const { anchor = "start", bold = false, size = 12 } = style;
  const weight = bold ? ' font-weight="600"' : "";
  return `<text x="${round(at[0])}" y="${round(at[1])}" font-size="${size}" text-anchor="${anchor}"${weight}>${escaped(content)}</text>`;
}

type Segment = readonly [x1: number, y1: number, x2: number, y2: number];

function line([x1, y1, x2, y2]: Segment, colour: string, width = 1): string {
  return `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" stroke="${colour}" stroke-width="${width}"/>`;
}

function page(height: number, title: string, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escaped(title)}" font-family="system-ui, sans-serif" fill="${INK}">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    text([16, 24], title, { bold: true, size: 15 }),
    ...parts,
    "</svg>",
    "",
  ].join("\n");
}

/** "12,345", "1.25": three digits at least, no more than tell something. */
export function numberText(value: number): string {
  const decimals = value === 0 || Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString("en-US", { minimumFractionDigits: 0, maximumFractionDigits: decimals });
}

export function barPlot({ title, unit, bars }: BarPlot): string {
  const [left, right, top, step] = [240, 90, 44, 26];
  const bottom = top + bars.length * step;
  const ticks = ticksOf(Math.max(...bars.map(({ value }) => value.max)));
  const scale = (value: number): number => left + (value / ticks.at(-1)!) * (WIDTH - left - right);
  const grid = ticks.flatMap((tick) => [
    line([scale(tick), top, scale(tick), bottom], GRID),
    text([scale(tick), bottom + 16], numberText(tick), { anchor: "middle", size: 11 }),
  ]);
  const rows = bars.flatMap(({ label, value, isOurs }, i) => {
    const [y, middle] = [top + i * step + 5, top + i * step + step / 2];
    return [
      text([left - 8, middle + 4], label, { anchor: "end", bold: isOurs }),
      `<rect x="${left}" y="${y}" width="${round(scale(value.median) - left)}" height="${step - 10}" fill="${isOurs ? OURS : THEIRS}"/>`,
      line([scale(value.min), middle, scale(value.max), middle], INK, 1.5),
      line([scale(value.min), middle - 4, scale(value.min), middle + 4], INK, 1.5),
      line([scale(value.max), middle - 4, scale(value.max), middle + 4], INK, 1.5),
      text([scale(value.max) + 6, middle + 4], numberText(value.median), { size: 11, bold: isOurs }),
    ];
  });
  const axis = [
    line([left, top, left, bottom], INK),
    text([(left + WIDTH - right) / 2, bottom + 34], `${unit}; bar: median, line: lowest to highest`, {
      anchor: "middle",
    }),
  ];
  return page(bottom + 46, title, [...grid, ...rows, ...axis]);
}

export function linePlot({ title, x, unit, lines }: LinePlot): string {
  const [left, right, top, bottom] = [78, 24, 52, 340];
  const xs = [...new Set(lines.flatMap(({ points }) => points.map((point) => point.x)))].toSorted((a, b) => a - b);
  const values = lines.flatMap(({ points }) => points.map(({ value }) => value.max));
  const ticks = ticksOf(Math.max(...values));
  const inset = 30;
  const width = WIDTH - left - right - 2 * inset;
  const toX = (value: number): number => left + inset + (xs.indexOf(value) / Math.max(1, xs.length - 1)) * width;
  const toY = (value: number): number => bottom - (value / ticks.at(-1)!) * (bottom - top);
  const grid = ticks.flatMap((tick) => [
    line([left, toY(tick), WIDTH - right, toY(tick)], GRID),
    text([left - 8, toY(tick) + 4], numberText(tick), { anchor: "end", size: 11 }),
  ]);
  const marks = xs.map((value) => text([toX(value), bottom + 18], numberText(value), { anchor: "middle", size: 11 }));
  const drawn = lines.flatMap(({ points }, i) => {
    const colour = COLOURS[i % COLOURS.length]!;
    const path = points.map((point) => `${round(toX(point.x))},${round(toY(point.value.median))}`).join(" ");
    return [
      `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2.2" stroke-dasharray="${DASHES[i % DASHES.length]}"/>`,
      ...points.flatMap((point) => [
        line([toX(point.x), toY(point.value.min), toX(point.x), toY(point.value.max)], colour, 1.5),
        `<circle cx="${round(toX(point.x))}" cy="${round(toY(point.value.median))}" r="3.5" fill="${colour}"/>`,
      ]),
    ];
  });
  const legend = lines.flatMap(({ name }, i) => {
    const [lx, ly] = [left + (i % 2) * 330, bottom + 62 + Math.floor(i / 2) * 20];
    const dash = DASHES[i % DASHES.length];
    return [
      `<line x1="${lx}" y1="${ly - 4}" x2="${lx + 28}" y2="${ly - 4}" stroke="${COLOURS[i % COLOURS.length]}" stroke-width="2.2" stroke-dasharray="${dash}"/>`,
      text([lx + 34, ly], name),
    ];
  });
  const axis = [
    line([left, top, left, bottom], INK),
    line([left, bottom, WIDTH - right, bottom], INK),
    text([left - 62, top - 10], unit),
    text([(left + WIDTH - right) / 2, bottom + 38], x, { anchor: "middle" }),
  ];
  const height = bottom + 76 + Math.floor((lines.length - 1) / 2) * 20;
  return page(height, title, [...grid, ...marks, ...drawn, ...legend, ...axis]);
}

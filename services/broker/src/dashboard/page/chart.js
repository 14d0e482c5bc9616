import { make } from "./dom.js";
import { clock, short } from "./format.js";
import { stack } from "./stack.js";

/** Height of a chart with its axes, in CSS pixels. */
const HEIGHT = 190;

/** The cursor moves in all charts at once. */
const SYNC = "millrace";

/** Least distances between ticks, in CSS pixels. */
const TICK_SPACE = { x: 64, y: 34 };

/** Steps of an axis that counts things: no half requests. */
const WHOLE_STEPS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 2e6, 5e6, 1e7,
];

/** @param {string} name of a CSS variable */
function colorOf(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** One panel: a title, a chart with axes, and a legend that tells the values under the cursor, or the newest. */
export class Chart {
  /** @type {import("./panels.js").Panel} */
  #panel;
  /** @type {HTMLElement} */
  #place = make("div", { class: "plot" });
  /** @type {HTMLElement[]} */
  #values = [];
  /** @type {HTMLElement} */
  #headline = make("span", { class: "headline" });
  #empty = make("p", { class: "empty" });
  /** @type {uPlot | undefined} */
  #plot;
  /** The values as they are, not stacked. @type {(number | null)[][]} */
  #raw = [];
  /** @type {[number, number]} */
  #range = [0, 60];
  /** @type {uPlot.AlignedData} */
  #data = [[]];
  element;

  /** @param {import("./panels.js").Panel} panel */
  constructor(panel) {
    this.#panel = panel;
    const legend = make("ul", { class: "legend" });
    for (const { label, color, dash, isFilled } of panel.layers) {
      const value = make("b", {});
      this.#values.push(value);
      const kind = dash !== undefined ? "dashed" : panel.isStacked || isFilled === true ? "" : "line";
      const mark = make("i", { class: `mark ${kind}` });
      mark.style.setProperty("--mark", `var(${color})`);
      const item = make("li", {}, mark, label, value);
      if (panel.isStacked) legend.prepend(item);
      else legend.append(item);
    }
    const units = panel.rightUnit === undefined ? panel.unit : `${panel.unit} · right: ${panel.rightUnit}`;
    const title = make("h2", {}, panel.title, " ", make("small", { class: "muted" }, units));
    this.element = make(
      "figure",
      { class: "card chart", id: `chart-${panel.id}`, title: panel.help },
      make("figcaption", {}, title, this.#headline),
      make("div", { class: "frame" }, this.#place, this.#empty),
      legend,
    );
    new ResizeObserver(() => this.#resize()).observe(this.#place);
  }

  /** Draws anew with the colours that hold now. */
  restyle() {
    this.#plot?.destroy();
    this.#plot = undefined;
    this.#draw();
  }

  /**
   * @param {import("./history.js").History} history
   * @param {number} windowS
   */
  show(history, windowS) {
    const { layers, isStacked, leastShare, headline, headlineLabel, format } = this.#panel;
    this.#raw = layers.map(({ column }) => history.column(column));
    const shown = isStacked ? stack(this.#raw, leastShare) : this.#raw;
    this.#range = history.range(windowS);
    this.#data = /** @type {uPlot.AlignedData} */ ([history.column("at"), ...shown]);
    if (headline !== undefined) this.#headline.textContent = `${headlineLabel} ${format(history.latest(headline))}`;
    const isEmpty = this.#raw.every((values) => values.every((value) => value === null || (isStacked && value === 0)));
    this.#empty.textContent = isEmpty ? "No request in this time" : "";
    this.#draw();
  }

  #draw() {
    if (this.#plot === undefined) {
      const width = this.#place.clientWidth;
      if (width === 0) return;
      this.#plot = new uPlot(this.#options(width), this.#data, this.#place);
    } else this.#plot.setData(this.#data);
    this.#tell(this.#plot.cursor.idx ?? undefined);
  }

  #resize() {
    const width = this.#place.clientWidth;
    if (width === 0) return;
    if (this.#plot === undefined) this.#draw();
    else if (this.#plot.width !== width) this.#plot.setSize({ width, height: HEIGHT });
  }

  /**
   * Writes the values of one moment into the legend; without one, the newest.
   *
   * @param {number} [at]
   */
  #tell(at) {
    const { layers, format, rightFormat = format } = this.#panel;
    for (const [i, { axis }] of layers.entries()) {
      const values = this.#raw[i] ?? [];
      const value = (at === undefined ? values.at(-1) : values[at]) ?? null;
      const text = (axis === "right" ? rightFormat : format)(value);
      const place = this.#values[i];
      if (place !== undefined && place.textContent !== text) place.textContent = text;
    }
  }

  /**
   * @param {number} width
   * @returns {uPlot.Options}
   */
  #options(width) {
    const { layers, isStacked } = this.#panel;
    const hasRight = layers.some(({ axis }) => axis === "right");
    return {
      width,
      height: HEIGHT,
      padding: [8, hasRight ? 4 : 12, 0, 4],
      legend: { show: false },
      cursor: {
        sync: { key: SYNC },
        drag: { x: false, y: false },
        y: false,
        points: { size: 6 },
      },
      scales: {
        x: { time: true, range: () => this.#range },
        left: { range: (_, __, max) => [0, topOf(max, this.#panel.isCount === true)] },
        ...(hasRight ? { right: { range: (_, __, max) => [0, topOf(max, false)] } } : {}),
      },
      axes: this.#axes(hasRight),
      series: [{}, ...layers.map((layer) => seriesOf(layer, isStacked))],
      bands: isStacked
        ? layers.slice(1).map(({ color }, i) => ({
            series: /** @type {[number, number]} */ ([i + 2, i + 1]),
            fill: colorOf(color),
          }))
        : [],
      hooks: { setCursor: [(plot) => this.#tell(plot.cursor.idx ?? undefined)] },
    };
  }

  /**
   * @param {boolean} hasRight
   * @returns {uPlot.Axis[]}
   */
  #axes(hasRight) {
    const { format, rightFormat = format, isCount } = this.#panel;
    const common = { stroke: colorOf("--axis"), font: "11px system-ui, sans-serif" };
    const grid = { stroke: colorOf("--grid"), width: 1 };
    /** @param {(value: number) => string} text */
    const values = (text) => (/** @type {uPlot} */ _, /** @type {number[]} */ splits) => splits.map(text);
    /** @type {uPlot.Axis[]} */
    const axes = [
      {
        ...common,
        grid,
        ticks: { ...grid, size: 4 },
        space: TICK_SPACE.x,
        size: 28,
        values: values((second) => clock(second, this.#range[1] - this.#range[0] <= 180)),
      },
      {
        ...common,
        scale: "left",
        grid,
        ticks: { show: false },
        gap: 6,
        size: 52,
        space: TICK_SPACE.y,
        ...(isCount === true ? { incrs: WHOLE_STEPS } : {}),
        values: values((value) => (format === short ? short(value) : format(value))),
      },
    ];
    if (!hasRight) return axes;
    const right = { scale: "right", side: 1, grid: { show: false }, ticks: { show: false }, gap: 6, size: 58 };
    return [...axes, { ...common, ...right, space: TICK_SPACE.y, values: values(rightFormat) }];
  }
}

/**
 * The upper end of an axis: some room above the highest value, and never nothing at all.
 *
 * @param {number | null} max
 * @param {boolean} isCount
 */
function topOf(max, isCount) {
  if (max === null || !(max > 0)) return isCount ? 4 : 1;
  return isCount ? Math.max(4, max * 1.1) : max * 1.1;
}

/**
 * @param {import("./panels.js").Layer} layer
 * @param {boolean} isStacked
 * @returns {uPlot.Series}
 */
function seriesOf({ color, dash, isFilled = false, axis = "left", isStepped = false }, isStacked) {
  const stroke = colorOf(color);
  return {
    scale: axis,
    stroke,
    // Lines around the layers of a stack would show those too that are empty.
    width: isStacked ? 0 : 1.5,
    points: { show: false },
    ...(dash === undefined ? {} : { dash }),
    // In a stack the first layer stands on zero, and each other one fills the band above the one before.
    ...(isStacked ? { fill: stroke } : {}),
    ...(isFilled ? { fill: `${stroke}40` } : {}),
    ...(isStepped && uPlot.paths.stepped !== undefined ? { paths: uPlot.paths.stepped({ align: -1 }) } : {}),
  };
}

import { duration, short } from "./format.js";

/**
 * One line or layer of a chart.
 *
 * @typedef {object} Layer
 * @property {string} column of the history
 * @property {string} label
 * @property {string} color name of a CSS variable
 * @property {number[]} [dash]
 * @property {boolean} [isFilled]
 * @property {"left" | "right"} [axis]
 * @property {boolean} [isStepped]
 */

/**
 * @typedef {object} Panel
 * @property {string} id
 * @property {string} title
 * @property {string} unit what the left axis counts
 * @property {string} [rightUnit]
 * @property {string} help
 * @property {boolean} isStacked layers stand on each other, the first at the bottom; the legend names the top first
 * @property {number} [leastShare] see stack
 * @property {boolean} [isCount] ticks are whole numbers
 * @property {(value: number | null) => string} format
 * @property {(value: number | null) => string} [rightFormat]
 * @property {string} [headline] a column whose newest value stands in the title, and its label
 * @property {string} [headlineLabel]
 * @property {readonly Layer[]} layers
 */

/** @type {readonly Panel[]} */
export const PANELS = [
  {
    id: "throughput",
    title: "Throughput by outcome",
    unit: "requests / s",
    help: "Requests that ended, per second, by how they ended.",
    isStacked: true,
    leastShare: 0.02,
    format: short,
    layers: [
      { column: "error", label: "error", color: "--error" },
      { column: "expired", label: "expired", color: "--expired" },
      { column: "shed", label: "shed", color: "--shed" },
      { column: "cancelled", label: "cancelled", color: "--cancelled" },
      { column: "ok", label: "ok", color: "--ok" },
    ],
  },
  {
    id: "latency",
    title: "Time in the broker",
    unit: "ms",
    help: "From received to answered, queue and run included. Half, 95 % and 99 % of the requests took at most this long.",
    isStacked: false,
    format: duration,
    layers: [
      { column: "p50", label: "p50", color: "--low" },
      { column: "p95", label: "p95", color: "--middle", dash: [6, 3] },
      { column: "p99", label: "p99", color: "--high" },
    ],
  },
  {
    id: "stages",
    title: "Where the time goes",
    unit: "mean ms",
    help: "Mean time of an answered request in each stage. Means add up to the whole; percentiles would not.",
    isStacked: true,
    format: duration,
    layers: [
      { column: "retry", label: "retry", color: "--error" },
      { column: "network", label: "network", color: "--network" },
      { column: "compute", label: "compute", color: "--compute" },
      { column: "batch_wait", label: "batch wait", color: "--wait" },
      { column: "broker_queue", label: "broker queue", color: "--queue" },
    ],
  },
  {
    id: "queue",
    title: "Queue",
    unit: "requests",
    rightUnit: "oldest, ms",
    help: "Requests that wait for a slot or for a larger batch, and how long the oldest of them has waited.",
    isStacked: false,
    isCount: true,
    format: short,
    rightFormat: duration,
    layers: [
      { column: "queued", label: "waiting", color: "--middle", isFilled: true },
      { column: "oldest_ms", label: "oldest", color: "--high", dash: [4, 3], axis: "right" },
    ],
  },
  {
    id: "batches",
    title: "Batch sizes",
    unit: "batches / s",
    help: "Batches that were sent to workers, per second, by how many rows they have. They are held back for more rows where that pays.",
    isStacked: true,
    format: short,
    headline: "batch_rows",
    headlineLabel: "mean rows",
    layers: [
      { column: "rows_more", label: "65+", color: "--size-7" },
      { column: "rows_64", label: "33–64", color: "--size-6" },
      { column: "rows_32", label: "17–32", color: "--size-5" },
      { column: "rows_16", label: "9–16", color: "--size-4" },
      { column: "rows_8", label: "5–8", color: "--size-3" },
      { column: "rows_4", label: "2–4", color: "--size-2" },
      { column: "rows_1", label: "1 row", color: "--size-1" },
    ],
  },
  {
    id: "slots",
    title: "Slots",
    unit: "slots",
    help: "Slots that ran a model, on average over the second, beside those that ready workers offer. At the line, there is no more.",
    isStacked: false,
    format: short,
    layers: [
      { column: "busy", label: "busy", color: "--compute", isFilled: true },
      { column: "slots", label: "offered", color: "--limit", dash: [6, 3], isStepped: true },
    ],
  },
];

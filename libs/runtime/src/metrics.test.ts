import { expect, test } from "vitest";
import { defineMetrics, REQUEST_BUCKETS, STAGE_BUCKETS } from "./metric-table.ts";
import { Metrics } from "./metrics.ts";

const TABLE = defineMetrics({
  millrace_things_total: { type: "counter", unit: "requests", labels: ["model", "outcome"], help: "Things." },
  millrace_level: { type: "gauge", unit: "rows", labels: ["model"], help: "A level." },
  millrace_wait_seconds: {
    type: "histogram",
    unit: "seconds",
    labels: [],
    help: "Waits.",
    buckets: [0.001, 0.01, 0.1],
  },
});

test("the same label values are the same recorder, in whatever order", () => {
  const metrics = new Metrics(TABLE);
  const counter = metrics.counter("millrace_things_total", { model: "a", outcome: "ok" });
  counter.add();
  counter.add(2);
  expect(metrics.counter("millrace_things_total", { outcome: "ok", model: "a" })).toBe(counter);
  expect(metrics.counter("millrace_things_total", { outcome: "ok", model: "b" }).value).toBe(0);
  expect(metrics.series("millrace_things_total").map(({ labels, recorder }) => [labels, recorder.value])).toEqual([
    [{ model: "a", outcome: "ok" }, 3],
    [{ model: "b", outcome: "ok" }, 0],
  ]);
});

test("a counter that follows a total never falls", () => {
  const counter = new Metrics(TABLE).counter("millrace_things_total", { model: "a", outcome: "ok" });
  counter.raiseTo(5);
  counter.raiseTo(5 - 1e-9);
  expect(counter.value).toBe(5);
});

test("a value counts in the first bucket whose bound it does not exceed", () => {
  const histogram = new Metrics(TABLE).histogram("millrace_wait_seconds", {});
  for (const value of [0, 0.001, 0.0011, 0.01, 0.1, 0.2, 7]) histogram.observe(value);
  histogram.observe(0.05, 3);
  expect([...histogram.counts]).toEqual([2, 2, 4, 2]);
  expect(histogram.count).toBe(10);
  expect(histogram.sum).toBeCloseTo(7.4621, 10);
});

test("every bound is found, and what is just above it is not in its bucket", () => {
  for (const buckets of [REQUEST_BUCKETS, STAGE_BUCKETS]) {
    const metrics = new Metrics({
      millrace_x_seconds: { type: "histogram", unit: "seconds", labels: [], help: "", buckets },
    });
    const histogram = metrics.histogram("millrace_x_seconds", {});
    for (const bound of buckets) histogram.observe(bound);
    for (const bound of buckets) histogram.observe(bound * 1.000_001);
    expect([...histogram.counts]).toEqual([1, ...buckets.slice(1).map(() => 2), 1]);
  }
});

test("a refresh sets what is known only when asked for; a cleared gauge has no series", () => {
  const metrics = new Metrics(TABLE);
  let rows = 4;
  metrics.onRefresh(() => {
    metrics.clear("millrace_level");
    if (rows > 0) metrics.gauge("millrace_level", { model: "a" }).set(rows);
  });
  metrics.refresh();
  expect(metrics.series("millrace_level")).toMatchObject([{ labels: { model: "a" }, recorder: { value: 4 } }]);
  rows = 0;
  metrics.refresh();
  expect(metrics.series("millrace_level")).toEqual([]);
});

test.for([
  ["millrace_things", { type: "counter", unit: "requests", labels: [], help: "" }, "_total"],
  ["millrace_things_total", { type: "gauge", unit: "requests", labels: [], help: "" }, "_total"],
  ["things_total", { type: "counter", unit: "requests", labels: [], help: "" }, "millrace_"],
  ["millrace_wait", { type: "gauge", unit: "seconds", labels: [], help: "" }, "unit"],
  ["millrace_level", { type: "gauge", unit: "rows", labels: ["le"], help: "" }, "label"],
  ["millrace_rows", { type: "histogram", unit: "rows", labels: [], help: "", buckets: [2, 1] }, "ascend"],
] as const)("a row of %s that breaks the conventions is refused", ([name, row, fault]) => {
  expect(() => defineMetrics({ [name]: row })).toThrow(new RegExp(`${name}.*${fault}`));
});

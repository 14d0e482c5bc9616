import { expect, test } from "vitest";
import { defineMetrics, REQUEST_BUCKETS } from "./metric-table.ts";
import { Metrics } from "./metrics.ts";
import { MetricsPage } from "./metrics-page.ts";
import { PROCESS_METRICS, recordProcess } from "./process-metrics.ts";

const TABLE = defineMetrics({
  millrace_things_total: { type: "counter", unit: "requests", labels: ["model"], help: "Things\\and\nmore." },
  millrace_wait_seconds: {
    type: "histogram",
    unit: "seconds",
    labels: ["model"],
    help: "Waits.",
    buckets: [0.001, 0.25],
  },
});

test("writes the text format: escaped, cumulative, with 0 for what has not happened", async () => {
  const metrics = new Metrics(TABLE);
  metrics.counter("millrace_things_total", { model: 'a"\\\n' });
  const histogram = metrics.histogram("millrace_wait_seconds", { model: "b" });
  for (const value of [0.001, 0.0625, 0.125, 2]) histogram.observe(value);
  const page = new MetricsPage(metrics);
  expect((await page.render()).split("# HELP process_")[0]?.trimEnd().split("\n")).toEqual([
    "# HELP millrace_things_total Things\\\\and\\nmore.",
    "# TYPE millrace_things_total counter",
    'millrace_things_total{model="a\\"\\\\\\n"} 0',
    "# HELP millrace_wait_seconds Waits.",
    "# TYPE millrace_wait_seconds histogram",
    'millrace_wait_seconds_bucket{model="b",le="0.001"} 1',
    'millrace_wait_seconds_bucket{model="b",le="0.25"} 3',
    'millrace_wait_seconds_bucket{model="b",le="+Inf"} 4',
    'millrace_wait_seconds_sum{model="b"} 2.1885',
    'millrace_wait_seconds_count{model="b"} 4',
  ]);
  histogram.observe(0.001);
  expect(await page.render()).toContain('millrace_wait_seconds_bucket{model="b",le="0.001"} 2\n');
});

test("has the metrics of process and Node, and none that another reader would spoil", async () => {
  const metrics = new Metrics(PROCESS_METRICS);
  recordProcess(metrics, { component: "broker", version: "1.2.3", commit: "abc" });
  const text = await new MetricsPage(metrics).render();
  const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
  expect(names).toEqual(expect.arrayContaining(["process_cpu_seconds_total", "nodejs_heap_size_used_bytes"]));
  expect(names.filter((name) => /gc|eventloop_lag/.test(name ?? ""))).toEqual([]);
  expect(text).toContain(
    `millrace_build_info{component="broker",version="1.2.3",commit="abc",node="${process.versions.node}"} 1\n`,
  );
  expect(Number(/^millrace_eventloop_active_seconds_total (\S+)$/m.exec(text)?.[1])).toBeGreaterThan(0);
});

test("a page of 20,000 lines is written without holding up the event loop", async () => {
  const table = defineMetrics({
    millrace_x_seconds: {
      type: "histogram",
      unit: "seconds",
      labels: ["series"],
      help: "X.",
      buckets: REQUEST_BUCKETS,
    },
  });
  const metrics = new Metrics(table);
  for (let i = 0; i < 645; i++) metrics.histogram("millrace_x_seconds", { series: String(i) }).observe(i);
  const page = new MetricsPage(metrics);
  let turns = 0;
  const watch = setInterval(() => void turns++, 0);
  const text = await page.render();
  clearInterval(watch);
  expect(text.split("\n").length).toBeGreaterThan(20_000);
  // How long a turn takes depends on the machine, and is tested on real processes.
  expect(turns).toBeGreaterThan(1);
});

import { createRequire } from "node:module";
import { performance } from "node:perf_hooks";
import { Registry } from "prom-client";
import { defineMetrics } from "./metric-table.ts";
import type { Metrics } from "./metrics.ts";

/** What every role has. Its own table is `defineMetrics({ ...PROCESS_METRICS, … })`. */
export const PROCESS_METRICS = defineMetrics({
  millrace_build_info: {
    type: "gauge",
    unit: "1",
    labels: ["component", "version", "commit", "node"],
    help: "Always 1: the role, its version, the commit it was built from (`unknown` outside of images), and the Node that runs it.",
    asks: "Processes by role and version.",
    query: "count by (component, version, commit) (millrace_build_info)",
  },
  millrace_eventloop_active_seconds_total: {
    type: "counter",
    unit: "seconds",
    labels: [],
    help: "Time in which the event loop was busy.",
    asks: "Share of time in which the event loop is busy.",
    query:
      "rate(millrace_eventloop_active_seconds_total[1m]) / (rate(millrace_eventloop_active_seconds_total[1m]) + rate(millrace_eventloop_idle_seconds_total[1m]))",
  },
  millrace_eventloop_idle_seconds_total: {
    type: "counter",
    unit: "seconds",
    labels: [],
    help: "Time in which the event loop waited for something to do.",
  },
});

/** Sets them up in the metrics of a role. */
export function recordProcess(
  metrics: Metrics<typeof PROCESS_METRICS>,
  build: { component: string; version: string; commit: string },
): void {
  metrics.gauge("millrace_build_info", { ...build, node: process.versions.node }).set(1);
  const active = metrics.counter("millrace_eventloop_active_seconds_total", {});
  const idle = metrics.counter("millrace_eventloop_idle_seconds_total", {});
  metrics.onRefresh(() => {
    const utilization = performance.eventLoopUtilization();
    active.raiseTo(utilization.active / 1000);
    idle.raiseTo(utilization.idle / 1000);
  });
}

/**
 * What prom-client measures of process and Node, by its files. Left out: `gc`, whose observer costs for ever; `eventLoopLag`,
 * which starts anew at each scrape, so that two who scrape spoil each other's; handles and requests, which are counted through
 * `process._getActiveHandles()` and are in `nodejs_active_resources` too.
 */
const PROM_CLIENT_PARTS = [
  "processCpuTotal",
  "processStartTime",
  "osMemoryHeap",
  "processOpenFileDescriptors",
  "processMaxFileDescriptors",
  "processResources",
  "heapSizeAndUsed",
  "heapSpacesSizeAndUsed",
  "version",
];

/** A gauge whose name says counter: `promtool` refuses it, and it is the sum of another. */
const MISNAMED = "nodejs_active_resources_total";

/** Makes the registry of the metrics that come from prom-client. */
export function createProcessRegistry(): Registry {
  const registry = new Registry();
  // Its one public function starts all parts, and some of them cannot be stopped.
  const load = createRequire(import.meta.url);
  for (const part of PROM_CLIENT_PARTS) {
    const collect = load(`prom-client/lib/metrics/${part}.js`) as (registry: Registry) => void;
    collect(registry);
  }
  registry.removeSingleMetric(MISNAMED);
  return registry;
}

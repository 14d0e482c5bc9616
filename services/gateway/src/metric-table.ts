import { defineMetrics, LINK_METRICS, PROCESS_METRICS, REQUEST_BUCKETS, STAGE_BUCKETS } from "@millrace/runtime";

/** Every metric of the gateway. */
export const GATEWAY_METRICS = defineMetrics({
  millrace_gateway_requests_total: {
    type: "counter",
    unit: "requests",
    labels: ["model", "outcome", "code"],
    help: "Inference calls that ended, by how and with which HTTP status (499: the client went away), and requests that no route serves; the model is empty where none of that name is known.",
    asks: "Share of calls that failed on our side.",
    query:
      'sum by (model) (rate(millrace_gateway_requests_total{outcome=~"shed|expired|error"}[5m])) / sum by (model) (rate(millrace_gateway_requests_total[5m]))',
  },
  millrace_gateway_request_duration_seconds: {
    type: "histogram",
    unit: "seconds",
    labels: ["model", "outcome"],
    buckets: REQUEST_BUCKETS,
    help: "Inference calls: from the request's head to the answer being written.",
    asks: "99th percentile of calls that got a result.",
    query:
      'histogram_quantile(0.99, sum by (le, model) (rate(millrace_gateway_request_duration_seconds_bucket{outcome="ok"}[1m])))',
  },
  millrace_gateway_inflight_requests: {
    type: "gauge",
    unit: "requests",
    labels: ["model"],
    help: "Inference calls between their head and their answer.",
  },
  millrace_gateway_inflight_bytes: {
    type: "gauge",
    unit: "bytes",
    labels: [],
    help: "Bytes held of bodies, until their answer, and of answers that their clients have not taken yet.",
    asks: "Who is near the bound of 512 MiB, beyond which requests are refused with 429.",
    query: "max by (instance) (millrace_gateway_inflight_bytes)",
  },
  millrace_stage_duration_seconds: {
    type: "histogram",
    unit: "seconds",
    labels: ["model", "stage"],
    buckets: STAGE_BUCKETS,
    help: "Where the time of calls that got a result went: the stages of Server-Timing.",
    asks: "Mean of each stage; together the mean call.",
    query:
      "sum by (stage) (rate(millrace_stage_duration_seconds_sum[1m])) / sum by (stage) (rate(millrace_stage_duration_seconds_count[1m]))",
  },
  millrace_gateway_hook_calls_total: {
    type: "counter",
    unit: "requests",
    labels: ["model", "hook", "outcome"],
    help: "Calls of hooks that ended, by how: ok, invalid (it refused the client's request), error, late (the request's budget, or the 30 s of after, had passed), cancelled (the client went away), dropped (no room in the queue of after).",
    asks: "Hooks that fail or are late, each second.",
    query: 'sum by (model, hook, outcome) (rate(millrace_gateway_hook_calls_total{outcome=~"error|late|dropped"}[5m]))',
  },
  millrace_gateway_hook_running: {
    type: "gauge",
    unit: "requests",
    labels: ["model", "hook"],
    help: "Calls of hooks that have not come to their end, those that nobody waits for any more included.",
  },
  millrace_gateway_hook_events_total: {
    type: "counter",
    unit: "events",
    labels: ["model", "event"],
    help: "What hooks told of their look-ups, by entity: cache_hit, cache_miss, lookup_default, lookup_stale; lookup_failed by look-up.",
    asks: "Share of entities that were in the cache.",
    query:
      'sum by (model) (rate(millrace_gateway_hook_events_total{event="cache_hit"}[5m])) / sum by (model) (rate(millrace_gateway_hook_events_total{event=~"cache_hit|cache_miss"}[5m]))',
  },
  millrace_gateway_broker_links: {
    type: "gauge",
    unit: "connections",
    labels: ["state"],
    help: "Brokers that are connected to: active (a session is open) or connecting.",
  },
  ...LINK_METRICS,
  ...PROCESS_METRICS,
});

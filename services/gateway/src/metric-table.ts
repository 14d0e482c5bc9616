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
  millrace_gateway_broker_links: {
    type: "gauge",
    unit: "connections",
    labels: ["state"],
    help: "Brokers that are connected to: active (a session is open) or connecting.",
  },
  ...LINK_METRICS,
  ...PROCESS_METRICS,
});

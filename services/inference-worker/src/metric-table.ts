import { defineMetrics, LINK_METRICS, PROCESS_METRICS, ROWS_BUCKETS, STAGE_BUCKETS } from "@millrace/runtime";

/** Every metric of the worker. */
export const WORKER_METRICS = defineMetrics({
  millrace_worker_slots: {
    type: "gauge",
    unit: "slots",
    labels: [],
    help: "Execution lanes of the worker; all of its models share them.",
  },
  millrace_worker_busy_seconds_total: {
    type: "counter",
    unit: "seconds",
    labels: ["model"],
    help: "Time that slots were taken by batches of the model, from the start of the run to its end.",
    asks: "Share of the slots' time that a model takes.",
    query:
      "sum by (model) (rate(millrace_worker_busy_seconds_total[1m])) / on () group_left () sum(millrace_worker_slots)",
  },
  millrace_worker_batches_total: {
    type: "counter",
    unit: "batches",
    labels: ["model"],
    help: "Batches that are through, whether they ran or not.",
  },
  millrace_worker_rows_total: {
    type: "counter",
    unit: "rows",
    labels: ["model"],
    help: "Rows that were run.",
    asks: "Rows a second.",
    query: "sum by (model) (rate(millrace_worker_rows_total[1m]))",
  },
  millrace_worker_input_elements_total: {
    type: "counter",
    unit: "elements",
    labels: ["model"],
    help: "Elements of the inputs of all runs, padding included.",
  },
  millrace_worker_padding_elements_total: {
    type: "counter",
    unit: "elements",
    labels: ["model"],
    help: "Elements of the inputs of all runs that were padding.",
    asks: "Padding ratio: the share of what runs that is padding.",
    query:
      "sum by (model) (rate(millrace_worker_padding_elements_total[5m])) / sum by (model) (rate(millrace_worker_input_elements_total[5m]))",
  },
  millrace_worker_batch_size: {
    type: "histogram",
    unit: "rows",
    labels: ["model"],
    buckets: ROWS_BUCKETS,
    help: "Rows of one run.",
    asks: "Mean rows of a run.",
    query: "rate(millrace_worker_batch_size_sum[1m]) / rate(millrace_worker_batch_size_count[1m])",
  },
  millrace_worker_batch_wait_seconds: {
    type: "histogram",
    unit: "seconds",
    labels: ["model"],
    buckets: STAGE_BUCKETS,
    help: "From receiving a batch to its run: staged behind another, put together, handed to the slot.",
  },
  millrace_worker_inference_seconds: {
    type: "histogram",
    unit: "seconds",
    labels: ["model", "provider"],
    buckets: STAGE_BUCKETS,
    help: "One run of the model.",
    asks: "99th percentile of a run.",
    query: "histogram_quantile(0.99, sum by (le, model) (rate(millrace_worker_inference_seconds_bucket[1m])))",
  },
  millrace_worker_errors_total: {
    type: "counter",
    unit: "requests",
    labels: ["model", "reason"],
    help: "Requests that the worker answered with an error, by error code.",
  },
  millrace_worker_model_info: {
    type: "gauge",
    unit: "1",
    labels: ["model", "version", "sha256", "provider"],
    help: "Always 1: a model version that is loaded, by the digest of its file.",
    asks: "Files behind one version: more than one means that workers disagree.",
    query: "count by (model, version) (count by (model, version, sha256) (millrace_worker_model_info))",
  },
  millrace_worker_model_load_seconds: {
    type: "gauge",
    unit: "seconds",
    labels: ["model", "version"],
    help: "How long loading and warming up took, in all slots together.",
  },
  millrace_worker_model_memory_bytes: {
    type: "gauge",
    unit: "bytes",
    labels: ["model", "version", "slot"],
    help: "How much the process grew when the copy of the model in this slot was loaded and warmed up, or the size of its file if that is more: an estimate.",
    asks: "Memory that the copies of a model take, over all workers.",
    query: "sum by (model, version) (millrace_worker_model_memory_bytes)",
  },
  ...LINK_METRICS,
  ...PROCESS_METRICS,
});

import { defineOptions, type OptionsOf } from "@millrace/runtime";
import { z } from "zod";

/** Rows of one run; the most that the protocol carries. */
const ROWS_MAX = 256;

/** The options of `millrace bench`. */
export const BENCH_OPTIONS = defineOptions({
  models: {
    schema: z.string(),
    default: "",
    doc: "Folder of the model repository; empty means ./models where it exists, else the bundled models.",
  },
  model: { schema: z.string(), default: "", doc: "Measure this model only; empty means every one." },
  sloMs: {
    schema: z.number().min(0).max(3_600_000),
    default: 0,
    doc: "Latency target, in ms; 0 takes the model's slo_ms, else its timeout_ms.",
  },
  ratePerSecond: {
    schema: z.number().min(0).max(1e9),
    default: 0,
    doc: "Rows a second that have to be served within the target: how many workers that takes. 0 does not ask.",
  },
  workers: {
    schema: z.number().int().min(0).max(100_000),
    default: 0,
    doc: "Workers that share the load, for the best batch size; 0 takes as many as the rate needs, else 1.",
  },
  rowsMax: {
    schema: z.number().int().min(1).max(ROWS_MAX),
    default: ROWS_MAX,
    doc: "The largest batch that is measured, in rows, whatever the model's max_batch_size.",
  },
  seconds: {
    schema: z.number().min(0.1).max(3_600),
    default: 10,
    doc: "The most compute time that measuring a model takes, in seconds.",
  },
  threads: {
    schema: z.number().int().min(0).max(256),
    default: 0,
    doc: "onnxruntime threads; 0 takes all processors that the process may use.",
  },
  json: { schema: z.boolean(), default: false, doc: "One JSON document on stdout instead of the report." },
});

export type BenchOptions = OptionsOf<typeof BENCH_OPTIONS>;

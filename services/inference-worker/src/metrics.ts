import { type ErrorCode, errorCodeOf, type ResultItem, type WorkerModel } from "@millrace/protocol";
import { type Counter, type Histogram, LinkMetrics, Metrics, recordProcess } from "@millrace/runtime";
import type { Loading } from "./model-loader.ts";
import { WORKER_METRICS } from "./metric-table.ts";

/** How a batch went: each run with its rows, and times in ms. */
export type BatchRun = {
  readonly runs: readonly {
    readonly rows: number;
    readonly computeMs: number;
    /** Of its inputs, and how many of these are padding. */
    readonly elements: number;
    readonly paddingElements: number;
  }[];
  /** From being received to its first run. */
  readonly waitMs: number;
  /** How long it had the slot. */
  readonly busyMs: number;
};

/** What the worker tells whoever measures it. `model`: its number in MODELS. */
export type WorkerObserver = {
  batchDone(model: number, batch: BatchRun): void;
  answered(model: number, items: readonly ResultItem[]): void;
  /** A session with the broker at this address is open, is lost, or will never be again. */
  brokerFound(address: string): void;
  brokerLost(address: string): void;
  brokerGivenUp(address: string): void;
};

/** Measures nothing. */
export const NO_OBSERVER: WorkerObserver = {
  batchDone: () => {},
  answered: () => {},
  brokerFound: () => {},
  brokerLost: () => {},
  brokerGivenUp: () => {},
};

/** The codes that workers usually give: they are shown from the beginning. */
const USUAL_ERRORS: readonly ErrorCode[] = [
  "model_error",
  "deadline_exceeded",
  "invalid_input",
  "invalid_shape",
  "invalid_value",
  "internal",
];

type ModelRecorders = {
  readonly name: string;
  readonly busy: Counter;
  readonly batches: Counter;
  readonly rows: Counter;
  readonly elements: Counter;
  readonly paddingElements: Counter;
  readonly batchSize: Histogram;
  readonly batchWait: Histogram;
  readonly inference: Histogram;
};

/** Records what the worker runs. The series of a model are there as soon as it is loaded. */
export class WorkerMetrics implements WorkerObserver {
  readonly values = new Metrics(WORKER_METRICS);
  readonly links = new LinkMetrics(this.values, "worker");
  readonly #models: ModelRecorders[] = [];

  constructor(version: string, commit = "unknown") {
    recordProcess(this.values, { component: "worker", version, commit });
  }

  /** It has so many execution lanes. */
  hasSlots(slots: number): void {
    this.values.gauge("millrace_worker_slots", {}).set(slots);
  }

  /** Takes a model that was loaded, or that cannot serve; the latter has no series. */
  loaded({ index, model }: WorkerModel, loading: Loading): void {
    if (model.state !== "ready") return;
    const { values } = this;
    const { name, version, digest } = model;
    const { provider, seconds, copies } = loading;
    values.gauge("millrace_worker_model_info", { model: name, version, sha256: digest, provider }).set(1);
    values.gauge("millrace_worker_model_load_seconds", { model: name, version }).set(seconds);
    for (const { slot, bytes } of copies)
      values.gauge("millrace_worker_model_memory_bytes", { model: name, version, slot: String(slot) }).set(bytes);
    for (const reason of USUAL_ERRORS) values.counter("millrace_worker_errors_total", { model: name, reason });
    this.#models[index] = {
      name,
      busy: values.counter("millrace_worker_busy_seconds_total", { model: name }),
      batches: values.counter("millrace_worker_batches_total", { model: name }),
      rows: values.counter("millrace_worker_rows_total", { model: name }),
      elements: values.counter("millrace_worker_input_elements_total", { model: name }),
      paddingElements: values.counter("millrace_worker_padding_elements_total", { model: name }),
      batchSize: values.histogram("millrace_worker_batch_size", { model: name }),
      batchWait: values.histogram("millrace_worker_batch_wait_seconds", { model: name }),
      inference: values.histogram("millrace_worker_inference_seconds", { model: name, provider }),
    };
  }

  batchDone(model: number, { runs, waitMs, busyMs }: BatchRun): void {
    const recorders = this.#models[model];
    if (recorders === undefined) return;
    recorders.batches.add();
    recorders.busy.add(busyMs / 1000);
    if (runs.length > 0) recorders.batchWait.observe(waitMs / 1000);
    for (const { rows, computeMs, elements, paddingElements } of runs) {
      recorders.rows.add(rows);
      recorders.elements.add(elements);
      recorders.paddingElements.add(paddingElements);
      recorders.batchSize.observe(rows);
      recorders.inference.observe(computeMs / 1000);
    }
  }

  answered(model: number, items: readonly ResultItem[]): void {
    const name = this.#models[model]?.name;
    if (name === undefined) return;
    for (const { code } of items) {
      if (code === 0) continue;
      this.values.counter("millrace_worker_errors_total", { model: name, reason: errorCodeOf(code) }).add();
    }
  }

  brokerFound(address: string): void {
    this.links.opened(address);
  }

  brokerLost(address: string): void {
    this.links.lost(address);
  }

  brokerGivenUp(address: string): void {
    this.links.givenUp(address);
  }
}

import type { BatchReason } from "@millrace/scheduling";
import { type ErrorCode, type Outcome, OUTCOMES } from "@millrace/protocol";
import { byLabel, type Counter, type Gauge, type Histogram, type Metrics } from "@millrace/runtime";
import type { ModelLoad } from "./load-survey.ts";
import type { BROKER_METRICS } from "./metric-table.ts";
import {
  BATCH_REASONS,
  BROKER_STAGES,
  type BrokerStage,
  HEDGE_EVENTS,
  type HedgeEvent,
  RETRY_REASONS,
  type RetryReason,
} from "./observer.ts";

/** The error codes that the broker itself gives. */
const REJECT_CODES: readonly ErrorCode[] = [
  "shed",
  "queue_full",
  "deadline_exceeded",
  "unavailable",
  "draining",
  "too_many_rows",
  "model_not_found",
  "worker_lost",
  "poison",
  "internal",
];

/** The recorders of one model, all there from the beginning. */
export class ModelMetrics {
  readonly model: string;
  readonly durations: Readonly<Record<Outcome, Histogram>>;
  readonly stages: Readonly<Record<BrokerStage, Histogram>>;
  readonly batches: Readonly<Record<BatchReason, Counter>>;
  readonly retries: Readonly<Record<RetryReason, Counter>>;
  readonly hedges: Readonly<Record<HedgeEvent, Counter>>;
  readonly sloughs: Counter;
  readonly queueWait: Histogram;
  readonly roundTrip: Histogram;
  readonly batchRows: Histogram;
  readonly batchCompute: Histogram;
  readonly queueDepth: Gauge;
  readonly queueRows: Gauge;
  readonly oldestAge: Gauge;
  readonly inFlight: Gauge;
  readonly slots: Gauge;
  readonly credits: Gauge;
  readonly #busy: Counter;
  readonly #messages: Readonly<Record<Outcome, Counter>>;
  readonly #demand: Counter;
  readonly #rejects: Readonly<Partial<Record<ErrorCode, Counter>>>;
  #open = 0;
  #busyMs = 0;
  /** Σ ends − Σ begins, in ms: with open × now it is the integral of the open requests over time. */
  #demandMs = 0;

  constructor(values: Metrics<typeof BROKER_METRICS>, model: string) {
    this.model = model;
    this.durations = byLabel(OUTCOMES, (outcome) =>
      values.histogram("millrace_broker_request_duration_seconds", { model, outcome }),
    );
    this.stages = byLabel(BROKER_STAGES, (stage) =>
      values.histogram("millrace_broker_stage_duration_seconds", { model, stage }),
    );
    this.batches = byLabel(BATCH_REASONS, (reason) =>
      values.counter("millrace_broker_batches_total", { model, reason }),
    );
    this.retries = byLabel(RETRY_REASONS, (reason) =>
      values.counter("millrace_broker_retries_total", { model, reason }),
    );
    this.hedges = byLabel(HEDGE_EVENTS, (event) => values.counter("millrace_broker_hedges_total", { model, event }));
    this.sloughs = values.counter("millrace_broker_codel_sheds_total", { model });
    this.queueWait = values.histogram("millrace_broker_queue_wait_seconds", { model });
    this.roundTrip = values.histogram("millrace_broker_worker_roundtrip_seconds", { model });
    this.batchRows = values.histogram("millrace_broker_batch_rows", { model });
    this.batchCompute = values.histogram("millrace_broker_batch_compute_seconds", { model });
    this.#busy = values.counter("millrace_broker_busy_seconds_total", { model });
    this.queueDepth = values.gauge("millrace_broker_queue_depth", { model });
    this.queueRows = values.gauge("millrace_broker_queue_rows", { model });
    this.oldestAge = values.gauge("millrace_broker_queue_oldest_age_seconds", { model });
    this.inFlight = values.gauge("millrace_broker_inflight_requests", { model });
    this.slots = values.gauge("millrace_broker_model_slots", { model });
    this.credits = values.gauge("millrace_broker_worker_credits", { model });
    this.#messages = byLabel(OUTCOMES, (outcome) =>
      values.counter("millrace_broker_messages_total", { model, outcome }),
    );
    this.#demand = values.counter("millrace_broker_demand_request_seconds_total", { model });
    this.#rejects = byLabel(REJECT_CODES, (reason) =>
      values.counter("millrace_broker_rejected_total", { model, reason }),
    );
  }

  /** A request is here from now on. */
  begin(nowMs: number): void {
    this.#open++;
    this.#demandMs -= nowMs;
  }

  /** The broker refuses a request or gives it up. */
  reject(code: ErrorCode): void {
    this.#rejects[code]?.add();
  }

  /** A request has ended, and its answer is with the socket. */
  end(outcome: Outcome, receivedMs: number, nowMs: number): void {
    this.#open--;
    this.#demandMs += nowMs;
    this.durations[outcome].observe((nowMs - receivedMs) / 1000);
  }

  /** Slots have run the model for so long, in ms; less than 0 where too much of it was told before. */
  ran(ms: number): void {
    this.#busyMs += ms;
  }

  /** Sets what follows from the rest, and the levels to 0: they are added up by version. */
  refresh(nowMs: number): void {
    const { queueDepth, queueRows, oldestAge, inFlight, slots, credits } = this;
    for (const level of [queueDepth, queueRows, oldestAge, inFlight, slots, credits]) level.set(0);
    this.#busy.raiseTo(this.#busyMs / 1000);
    this.#demand.raiseTo((this.#demandMs + this.#open * nowMs) / 1000);
    for (const outcome of OUTCOMES) this.#messages[outcome].raiseTo(this.durations[outcome].count);
  }

  addLoad({ queued, inFlight, oldestMs }: ModelLoad, nowMs: number): void {
    this.queueDepth.value += queued;
    this.inFlight.value += inFlight;
    this.oldestAge.set(Math.max(this.oldestAge.value, (nowMs - oldestMs) / 1000));
  }
}

import type { BatchReason } from "@millrace/scheduling";
import { performance } from "node:perf_hooks";
import { type ErrorCode, errorCodeOf, outcomeOf } from "@millrace/protocol";
import { ByModel, type Counter, type Gauge, Metrics, OTHER_MODELS, recordProcess } from "@millrace/runtime";
import type { Broker } from "../broker.ts";
import { surveyLoad } from "./load-survey.ts";
import { BROKER_METRICS } from "./metric-table.ts";
import { ModelMetrics } from "./model-metrics.ts";
import type { ModelVersion } from "../models/model-version.ts";
import {
  type BatchRun,
  type BrokerObserver,
  DROP_REASONS,
  type DropReason,
  type HedgeEvent,
  PEER_EVENTS,
  type PeerEvent,
  type RetryReason,
} from "./observer.ts";
import type { Request } from "../dispatch/request.ts";
import { TurnEndings } from "./turn-endings.ts";
import { type Batch, runningMs, type Slot, type WorkerSession } from "../sessions/worker-session.ts";

/** A gateway cancels what has run out of time. The two clocks agree this well, in ms, on when that was. */
const EXPIRY_SLACK_MS = 10;

const WORKER_STATES = ["ready", "suspect", "draining"] as const;
type WorkerState = (typeof WORKER_STATES)[number];

/**
 * Records what the broker does. What happens to requests is counted as it happens; levels are looked up when somebody reads.
 * Series are by model name, all versions together; they exist from the moment the model is known, and for good.
 *
 * To read: `values.refresh()`, then `values.series(name)`.
 */
export class BrokerMetrics implements BrokerObserver {
  readonly values = new Metrics(BROKER_METRICS);
  readonly #models = new ByModel((model) => new ModelMetrics(this.values, model));
  /** The same by route: one look-up a call. */
  readonly #byRoute: (ModelMetrics | undefined)[] = [];
  readonly #peers: ReadonlyMap<string, Counter>;
  readonly #drops: ReadonlyMap<DropReason, Counter>;
  readonly #slots: Gauge;
  readonly #endings = new TurnEndings();
  /** What was told of batches while they run, in ms. */
  readonly #toldMs = new WeakMap<Batch, number>();
  /** Whether anybody says when batches end: only then their beginnings count. */
  #hearsOfBatches = false;

  constructor(version: string, commit = "unknown") {
    recordProcess(this.values, { component: "broker", version, commit });
    this.#slots = this.values.gauge("millrace_broker_slots", {});
    this.#peers = new Map(
      (["gateway", "worker"] as const).flatMap((peer) =>
        PEER_EVENTS.map((event) => [
          `${peer} ${event}`,
          this.values.counter("millrace_broker_peer_events_total", { peer, event }),
        ]),
      ),
    );
    this.#drops = new Map(
      DROP_REASONS.map((reason) => [reason, this.values.counter("millrace_broker_dropped_messages_total", { reason })]),
    );
  }

  /** Reads the levels of this broker from now on, whenever somebody asks. */
  watch(core: Broker, clock: () => number = () => performance.now()): void {
    this.values.onRefresh(() => this.#refresh(core, clock()));
  }

  submitted(request: Request): void {
    this.#of(request.model).begin(request.receivedMs);
  }

  refused(model: ModelVersion | undefined, code: ErrorCode, nowMs: number): void {
    const metrics = model === undefined ? this.#models.others : this.#of(model);
    metrics.reject(code);
    metrics.begin(nowMs);
    this.#endings.add(metrics, outcomeOf(code), nowMs);
  }

  batchSent(batch: Batch, reason: BatchReason): void {
    this.#hearsOfBatches = true;
    const metrics = this.#of(batch.model);
    metrics.batches[reason].add();
    metrics.batchRows.observe(batch.rows);
    for (const request of batch.requests) metrics.queueWait.observe(request.queueMs / 1000);
  }

  batchAnswered({ batch, computeMs, roundTripMs }: BatchRun): void {
    const metrics = this.#of(batch.model);
    metrics.batchCompute.observe(computeMs / 1000);
    metrics.ran(computeMs - (this.#toldMs.get(batch) ?? 0));
    metrics.roundTrip.observe(roundTripMs / 1000);
  }

  answered(request: Request, run: BatchRun, item: { readonly code: number; readonly retryUs: number }): void {
    const metrics = this.#of(request.model);
    const { stages } = metrics;
    const retryMs = item.retryUs / 1000;
    stages.broker_queue.observe(request.queueMs / 1000);
    stages.retry.observe((request.retryMs + retryMs) / 1000);
    stages.batch_wait.observe(run.batchWaitMs / 1000);
    stages.compute.observe(run.computeMs / 1000);
    stages.network.observe(Math.max(0, run.roundTripMs - run.batchWaitMs - run.computeMs - retryMs) / 1000);
    const outcome = item.code === 0 ? "ok" : outcomeOf(errorCodeOf(item.code));
    this.#endings.add(metrics, outcome, request.receivedMs);
  }

  rejected(request: Request, code: ErrorCode): void {
    const metrics = this.#of(request.model);
    metrics.reject(code);
    this.#endings.add(metrics, outcomeOf(code), request.receivedMs);
  }

  cancelled(request: Request, nowMs: number): void {
    const outcome = nowMs >= request.expiresMs - EXPIRY_SLACK_MS ? "expired" : "cancelled";
    this.#endings.add(this.#of(request.model), outcome, request.receivedMs);
  }

  retried(model: ModelVersion, reason: RetryReason): void {
    this.#of(model).retries[reason].add();
  }

  sloughed({ model }: Request): void {
    this.#of(model).sloughs.add();
  }

  hedged(model: ModelVersion, event: HedgeEvent): void {
    this.#of(model).hedges[event].add();
  }

  peer(side: "gateway" | "worker", event: PeerEvent): void {
    this.#peers.get(`${side} ${event}`)?.add();
  }

  dropped(reason: DropReason): void {
    this.#drops.get(reason)?.add();
  }

  turnSent(nowMs: number): void {
    this.#endings.end(nowMs);
  }

  #of(version: ModelVersion): ModelMetrics {
    const { route, description } = version;
    return (this.#byRoute[route] ??= this.#models.of(description.name));
  }

  #refresh({ models, sessions }: Broker, nowMs: number): void {
    const versions = models.all;
    for (const version of versions) this.#of(version);
    if (this.#hearsOfBatches) this.#tellRunning(sessions.worker.values(), nowMs);
    for (const metrics of this.#models.all()) metrics.refresh(nowMs);
    for (const version of versions) this.#of(version).queueRows.value += version.queuedRows;
    for (const [version, load] of surveyLoad(sessions.gateway.values())) this.#of(version).addLoad(load, nowMs);
    this.#refreshWorkers(versions, sessions.worker.values());
  }

  /** A run may last for many seconds: what has passed of it is told now, and the rest when it is answered. */
  #tellRunning(workers: Iterable<WorkerSession>, nowMs: number): void {
    for (const { slots } of workers) {
      for (const slot of slots) {
        const [batch] = slot.batches;
        if (batch === undefined) continue;
        const ms = runningMs(slot, nowMs);
        this.#of(batch.model).ran(ms - (this.#toldMs.get(batch) ?? 0));
        this.#toldMs.set(batch, ms);
      }
    }
  }

  #refreshWorkers(versions: readonly ModelVersion[], workers: Iterable<WorkerSession>): void {
    this.values.clear("millrace_broker_workers");
    this.#slots.set(0);
    const count = (version: ModelVersion, state: WorkerState): Gauge => {
      const { model } = this.#of(version);
      const labels = { model, version: model === OTHER_MODELS ? "" : version.description.version, state };
      return this.values.gauge("millrace_broker_workers", labels);
    };
    for (const version of versions) for (const state of WORKER_STATES) count(version, state);
    for (const worker of workers) {
      if (worker.state === "gone") continue;
      const served = worker.state === "draining" ? worker.withdrawn : worker.models.keys();
      const state = worker.state === "active" ? "ready" : worker.state;
      const slotsOf = new Map<ModelMetrics, Set<Slot>>();
      for (const version of served) {
        count(version, state).value++;
        if (state !== "ready") continue;
        const metrics = this.#of(version);
        const slots = version.slotsOf(worker);
        metrics.credits.value += slots.reduce((sum, { granted, dispatched }) => sum + granted - dispatched, 0);
        // Versions of one name may share slots.
        slotsOf.set(metrics, new Set(slots).union(slotsOf.get(metrics) ?? new Set()));
      }
      if (state === "ready") this.#slots.value += worker.slots.length;
      for (const [{ slots }, own] of slotsOf) slots.value += own.size;
    }
  }
}

import { ERROR_CODES, type ErrorCode, type ModelDescription } from "@millrace/protocol";
import {
  byLabel,
  ByModel,
  type Counter,
  type Gauge,
  type Histogram,
  LinkMetrics,
  type LinkSource,
  Metrics,
  recordProcess,
  type Stage,
  STAGES,
} from "@millrace/runtime";
import { type CallEnd, httpOutcomeOf } from "./call/call-end.ts";
import { HookMetrics } from "./hooks/hook-metrics.ts";
import type { ModelTable } from "./broker/inference.ts";
import { GATEWAY_METRICS } from "./metric-table.ts";

/** What a call ended with. */
type Ending = ErrorCode | "ok";

/** What is shown for the brokers: the connections as they are now. */
export type GatewayLinks = LinkSource & { readonly active: readonly string[] };

/**
 * Records the inference calls of a gateway. The series of a model are there as soon as a broker has told of it, and for good.
 */
export class GatewayMetrics {
  readonly values = new Metrics(GATEWAY_METRICS);
  readonly links = new LinkMetrics(this.values, "gateway");
  readonly hooks = new HookMetrics(this.values);
  readonly #models = new ByModel((model) => new CallRecorders(this.values, model));

  constructor(version: string, commit = "unknown") {
    recordProcess(this.values, { component: "gateway", version, commit });
  }

  /** Reads models and connections from now on, whenever somebody asks. */
  watch(models: ModelTable, links: GatewayLinks): void {
    const active = this.values.gauge("millrace_gateway_broker_links", { state: "active" });
    const connecting = this.values.gauge("millrace_gateway_broker_links", { state: "connecting" });
    this.links.watch(links);
    this.values.onRefresh(() => {
      for (const { model } of models.list()) this.#models.of(model.name);
      active.set(links.active.length);
      connecting.set(links.discovery.addresses - links.active.length);
    });
  }

  /** Reads the bytes that are held from now on, whenever somebody asks. */
  watchBytes(heldBytes: () => number): void {
    const gauge = this.values.gauge("millrace_gateway_inflight_bytes", {});
    this.values.onRefresh(() => gauge.set(heldBytes()));
  }

  /** A call for a model that is known is in flight from now on. */
  began(model: ModelDescription): void {
    this.#models.of(model.name).begin();
  }

  /** A call has ended: one that `began` was told of, or one for no model that is known. */
  ended({ exchange, code, model, stages }: CallEnd): void {
    const calls = model === undefined ? this.#models.others : this.#models.of(model.name);
    if (model !== undefined) calls.leave();
    if (stages !== undefined && code === undefined) calls.answered(stages);
    calls.end(code ?? "ok", performance.now() - exchange.receivedMs);
  }
}

type EndRecorders = { readonly count: Counter; readonly duration: Histogram };

/** The recorders of one model's calls, all there from the beginning. */
class CallRecorders {
  readonly #inFlight: Gauge;
  readonly #ends: Readonly<Record<Ending, EndRecorders>>;
  readonly #stages: Readonly<Record<Stage, Histogram>>;

  constructor(values: Metrics<typeof GATEWAY_METRICS>, model: string) {
    this.#inFlight = values.gauge("millrace_gateway_inflight_requests", { model });
    this.#ends = byLabel(["ok", ...(Object.keys(ERROR_CODES) as ErrorCode[])], (how) => {
      const outcome = httpOutcomeOf(how === "ok" ? undefined : how);
      const code = String(how === "ok" ? 200 : ERROR_CODES[how].http);
      return {
        count: values.counter("millrace_gateway_requests_total", { model, outcome, code }),
        duration: values.histogram("millrace_gateway_request_duration_seconds", { model, outcome }),
      };
    });
    this.#stages = byLabel(Object.keys(STAGES) as Stage[], (stage) =>
      values.histogram("millrace_stage_duration_seconds", { model, stage }),
    );
  }

  begin(): void {
    this.#inFlight.value++;
  }

  leave(): void {
    this.#inFlight.value--;
  }

  end(how: Ending, durationMs: number): void {
    const { count, duration } = this.#ends[how];
    count.add();
    duration.observe(durationMs / 1000);
  }

  answered({ own, behind }: NonNullable<CallEnd["stages"]>): void {
    const recorders = this.#stages;
    recorders.parse.observe(own.parseMs / 1000);
    recorders.preprocess.observe(own.preprocessMs / 1000);
    recorders.gateway_queue.observe(behind.gatewayQueueMs / 1000);
    recorders.broker_queue.observe(behind.brokerQueueMs / 1000);
    recorders.batch_wait.observe(behind.batchWaitMs / 1000);
    recorders.compute.observe(behind.computeMs / 1000);
    recorders.postprocess.observe(own.postprocessMs / 1000);
    recorders.retry.observe(behind.retryMs / 1000);
    recorders.network.observe(behind.networkMs / 1000);
    recorders.encode.observe(own.encodeMs / 1000);
  }
}

import { ERROR_CODES, type ErrorCode, type ModelDescription, OUTCOMES, outcomeOf } from "@millrace/protocol";
import {
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
import type { CallEnd } from "./call-end.ts";
import type { ModelTable } from "./inference.ts";
import { GATEWAY_METRICS } from "./metric-table.ts";

/** What a call ended with. */
type Ending = ErrorCode | "ok";

/** How a call ends in HTTP: as in the broker, and `invalid` where the client is to blame. */
const HTTP_OUTCOMES = [...OUTCOMES, "invalid"] as const;
type HttpOutcome = (typeof HTTP_OUTCOMES)[number];

/** Models with series of their own, by name, the first ones: each costs some 400 lines of every page. */
const MODELS_MAX = 100;

/** The label of all others, and of calls for what is no model: clients must not be able to make series. */
const OTHER_MODELS = "";

/** What is shown for the brokers: the connections as they are now. */
export type GatewayLinks = LinkSource & { readonly active: readonly string[] };

/**
 * Records the inference calls of a gateway. The series of a model are there as soon as a broker has told of it, and for good.
 */
export class GatewayMetrics {
  readonly values = new Metrics(GATEWAY_METRICS);
  readonly links = new LinkMetrics(this.values, "gateway");
  readonly #byName = new Map<string, CallRecorders>();
  readonly #others: CallRecorders;

  constructor(version: string) {
    recordProcess(this.values, { component: "gateway", version });
    this.#others = new CallRecorders(this.values, OTHER_MODELS);
  }

  /** Reads models and connections from now on, whenever somebody asks. */
  watch(models: ModelTable, links: GatewayLinks): void {
    const active = this.values.gauge("millrace_gateway_broker_links", { state: "active" });
    const connecting = this.values.gauge("millrace_gateway_broker_links", { state: "connecting" });
    this.links.watch(links);
    this.values.onRefresh(() => {
      for (const { model } of models.list()) this.#callsOf(model);
      active.set(links.active.length);
      connecting.set(links.discovery.addresses - links.active.length);
    });
  }

  /** A call for a model that is known is in flight from now on. */
  began(model: ModelDescription): void {
    this.#callsOf(model).begin();
  }

  /** A call has ended: one that `began` was told of, or one for no model that is known. */
  ended({ exchange, code, model, stages }: CallEnd): void {
    const calls = model === undefined ? this.#others : this.#callsOf(model);
    if (model !== undefined) calls.leave();
    if (stages !== undefined && code === undefined) calls.answered(stages);
    calls.end(code ?? "ok", performance.now() - exchange.receivedMs);
  }

  #callsOf({ name }: ModelDescription): CallRecorders {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    if (this.#byName.size >= MODELS_MAX) return this.#others;
    const recorders = new CallRecorders(this.values, name);
    this.#byName.set(name, recorders);
    return recorders;
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
    this.#ends = record(["ok", ...(Object.keys(ERROR_CODES) as ErrorCode[])], (how) => {
      const outcome = httpOutcomeOf(how);
      const code = String(how === "ok" ? 200 : ERROR_CODES[how].http);
      return {
        count: values.counter("millrace_gateway_requests_total", { model, outcome, code }),
        duration: values.histogram("millrace_gateway_request_duration_seconds", { model, outcome }),
      };
    });
    this.#stages = record(Object.keys(STAGES) as Stage[], (stage) =>
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

function httpOutcomeOf(how: Ending): HttpOutcome {
  if (how === "ok") return how;
  const outcome = outcomeOf(how);
  return outcome === "error" && ERROR_CODES[how].fault === "client" ? "invalid" : outcome;
}

function record<Key extends string, Value>(keys: readonly Key[], make: (key: Key) => Value): Record<Key, Value> {
  return Object.fromEntries(keys.map((key) => [key, make(key)])) as Record<Key, Value>;
}

import { performance } from "node:perf_hooks";
import { type Outcome, OUTCOMES } from "@millrace/protocol";
import { type AdminHandler, OTHER_MODELS } from "@millrace/runtime";
import type { Broker, BrokerReport } from "../broker.ts";
import { eventOf } from "./broker-events.ts";
import { COLUMNS, WINDOW_S } from "./columns.ts";
import { EventLog } from "./event-log.ts";
import { Feed } from "./feed.ts";
import type { Now, SecondFrame, StartFrame } from "./frames.ts";
import { Incidents } from "./incidents.ts";
import { pageRoutes } from "./page-files.ts";
import { type MetricSource, readModels, readSlots, readWorkers } from "./readings.ts";
import { Sampler } from "./sampler.ts";
import { WorkerTable } from "./worker-table.ts";

/** How often a sample is taken, in ms. */
const SAMPLE_EVERY_MS = 1_000;

export type DashboardOptions = {
  /** The broker's name. */
  readonly name: string;
  /** What `/metrics` shows; `refresh` sets the gauges to what is now. */
  readonly metrics: MetricSource & { refresh(): void };
  /** Upper bounds of the buckets of request durations, in seconds. */
  readonly bounds: readonly number[];
};

/** The broker's page: takes a sample each second, and shows the last 15 minutes to whoever opens it. Read-only. */
export class Dashboard {
  readonly #options: DashboardOptions;
  readonly #sampler: Sampler;
  readonly #table = new WorkerTable();
  readonly #incidents = new Incidents();
  readonly #log = new EventLog();
  readonly #feed: Feed;
  readonly #startedMs = performance.now();
  #core: Broker | undefined;
  #loop = performance.eventLoopUtilization();
  #loopBusy = 0;
  #state = "serving";
  /** Path → handler, for the admin server. */
  readonly routes: Readonly<Record<string, AdminHandler>>;

  constructor(options: DashboardOptions) {
    this.#options = options;
    this.#sampler = new Sampler({
      bounds: options.bounds.map((seconds) => seconds * 1000),
      otherModels: OTHER_MODELS,
      nowMs: this.#startedMs,
    });
    this.#feed = new Feed({
      lineOf: (model) => this.#sampler.line(model),
      startFrame: (model) => this.#startFrame(model),
      secondFrame: (model, after) => this.#secondFrame(model, after),
      lastEntry: () => this.#log.last,
    });
    this.routes = { ...pageRoutes(), "/dashboard/events": this.#feed.open };
  }

  /** Watches this broker from now on. */
  watch(core: Broker): void {
    this.#core = core;
    // Nobody is kept alive by being watched.
    setInterval(() => this.#second(), SAMPLE_EVERY_MS).unref();
  }

  /** Takes what the core reports into the event log. */
  report(report: BrokerReport): void {
    this.#log.add(eventOf(report, Date.now() / 1000));
    if (report.text === "worker drains") this.#table.drains(String(report.fields["instance"]));
  }

  #second(): void {
    if (this.#core !== undefined) this.#sample(this.#core);
    this.#feed.second();
  }

  #sample(core: Broker): void {
    const { metrics } = this.#options;
    const time = { nowMs: performance.now(), wallMs: Date.now() };
    metrics.refresh();
    this.#table.update(readWorkers(core.sessions.worker, time.nowMs), time);
    this.#sampler.sample(readModels(core.models.all, metrics), time, readSlots(metrics));
    this.#notice(core.state, time.wallMs / 1000);
    const loop = performance.eventLoopUtilization();
    this.#loopBusy = Number(performance.eventLoopUtilization(loop, this.#loop).utilization.toFixed(4));
    this.#loop = loop;
  }

  /** Tells what has begun or ended since the last sample. */
  #notice(state: string, at: number): void {
    if (state !== this.#state) this.#log.add({ at, level: "warn", what: `The broker is ${state}`, detail: "" });
    this.#state = state;
    const observations = this.#sampler.models().shown.map(({ name, workers }) => {
      const totals = this.#sampler.line(name)?.totals ?? [];
      const ended = (outcome: Outcome): number => totals[OUTCOMES.indexOf(outcome)] ?? 0;
      return { model: name, workers, shed: ended("shed"), expired: ended("expired"), error: ended("error") };
    });
    for (const entry of this.#incidents.observe(observations, at)) this.#log.add(entry);
  }

  #startFrame(model: string | undefined): StartFrame {
    return {
      broker: this.#options.name,
      windowS: WINDOW_S,
      columns: COLUMNS,
      history: this.#sampler.line(model)?.ring.columns() ?? [],
      log: this.#log.since(0),
      now: this.#now(model),
    };
  }

  #secondFrame(model: string | undefined, after: number): SecondFrame {
    const sample = this.#sampler.line(model)?.latest ?? [];
    return { sample, log: this.#log.since(after), now: this.#now(model) };
  }

  #now(model: string | undefined): Now {
    const sessions = this.#core?.sessions;
    const models = this.#sampler.models();
    const table = this.#table.rows(model);
    return {
      state: this.#state,
      uptimeS: Math.round((performance.now() - this.#startedMs) / 1000),
      gateways: sessions?.gateway.size ?? 0,
      workers: sessions?.worker.size ?? 0,
      totals: [...(this.#sampler.line(model)?.totals ?? OUTCOMES.map(() => 0))],
      loopBusy: this.#loopBusy,
      models: models.shown.map(({ name, workers }) => ({ name, workers })),
      moreModels: models.more,
      table: table.shown,
      moreWorkers: table.more,
    };
  }
}

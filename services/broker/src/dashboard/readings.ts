import { OUTCOMES } from "@millrace/protocol";
import type { Broker } from "../broker.ts";
import type { ModelVersion } from "../models/model-version.ts";
import { BROKER_STAGES } from "../metrics/observer.ts";
import { runningMs } from "../sessions/worker-session.ts";
import type { HistogramReading, ModelReading } from "./sampler.ts";
import type { WorkerReading } from "./worker-table.ts";

type SeriesOf<Recorder> = readonly { readonly labels: Readonly<Record<string, string>>; readonly recorder: Recorder }[];

type HistogramName =
  | "millrace_broker_request_duration_seconds"
  | "millrace_broker_stage_duration_seconds"
  | "millrace_broker_batch_rows";

type ValueName =
  | "millrace_broker_queue_depth"
  | "millrace_broker_queue_oldest_age_seconds"
  | "millrace_broker_inflight_requests"
  | "millrace_broker_busy_seconds_total"
  | "millrace_broker_slots"
  | "millrace_broker_model_slots";

/** What `/metrics` shows, with its gauges fresh: the page is made of the same recorders, so that both tell the same. */
export type MetricSource = {
  series(name: HistogramName): SeriesOf<HistogramReading>;
  series(name: ValueName): SeriesOf<{ readonly value: number }>;
};

const NO_HISTOGRAM: HistogramReading = { bounds: [], counts: [], count: 0, sum: 0 };

/** Every model that has metrics, all versions of a name together. O(versions + series). */
export function readModels(versions: readonly ModelVersion[], metrics: MetricSource): ModelReading[] {
  const durations = byModel(metrics.series("millrace_broker_request_duration_seconds"), "outcome");
  const stages = byModel(metrics.series("millrace_broker_stage_duration_seconds"), "stage");
  const batchRows = byModel(metrics.series("millrace_broker_batch_rows"));
  const [queued, oldest, running, busy, slots] = (
    [
      "millrace_broker_queue_depth",
      "millrace_broker_queue_oldest_age_seconds",
      "millrace_broker_inflight_requests",
      "millrace_broker_busy_seconds_total",
      "millrace_broker_model_slots",
    ] as const
  ).map((name) => byModel(metrics.series(name)));
  const served = byName(versions);
  return [...durations].map(([name, outcomes]) => {
    const times = stages.get(name);
    const waiting = queued?.get(name)?.get("")?.value ?? 0;
    return {
      name,
      outcomes: OUTCOMES.map((outcome) => outcomes.get(outcome)?.count ?? 0),
      residence: outcomes.get("ok")?.counts ?? [],
      stageMs: BROKER_STAGES.map((stage) => (times?.get(stage)?.sum ?? 0) * 1000),
      answered: times?.get("compute")?.count ?? 0,
      batchRows: batchRows.get(name)?.get("") ?? NO_HISTOGRAM,
      busyS: busy?.get(name)?.get("")?.value ?? 0,
      queued: waiting,
      oldestMs: (oldest?.get(name)?.get("")?.value ?? 0) * 1000,
      open: waiting + (running?.get(name)?.get("")?.value ?? 0),
      workers: new Set((served.get(name) ?? []).flatMap((version) => [...version.workers])).size,
      slots: slots?.get(name)?.get("")?.value ?? 0,
    };
  });
}

/** Slots of all ready workers. */
export function readSlots(metrics: MetricSource): number {
  return metrics.series("millrace_broker_slots").reduce((sum, { recorder }) => sum + recorder.value, 0);
}

/** Every worker that is connected. */
export function readWorkers(sessions: Broker["sessions"]["worker"], nowMs: number): WorkerReading[] {
  return [...sessions.values()].map(({ peer, epoch, instance, state, slots, batchesOut, work, models }) => ({
    id: `${peer} ${epoch}`,
    name: instance,
    state,
    slots: slots.length,
    credits: slots.reduce((sum, { granted, dispatched }) => sum + granted - dispatched, 0),
    out: batchesOut,
    runningMs: slots.reduce((sum, slot) => sum + runningMs(slot, nowMs), 0),
    work: [...work].map(([version, tally]) => ({ model: version.description.name, tally })),
    serves: new Set([...models.keys()].map(({ description }) => description.name)),
  }));
}

function byName(versions: readonly ModelVersion[]): Map<string, ModelVersion[]> {
  const names = new Map<string, ModelVersion[]>();
  for (const version of versions) {
    const { name } = version.description;
    const list = names.get(name);
    if (list === undefined) names.set(name, [version]);
    else list.push(version);
  }
  return names;
}

/** Series by model, and for each by one more label; "" where there is none. */
function byModel<Recorder>(series: SeriesOf<Recorder>, label?: string): Map<string, Map<string, Recorder>> {
  const models = new Map<string, Map<string, Recorder>>();
  for (const { labels, recorder } of series) {
    const model = labels["model"] ?? "";
    let recorders = models.get(model);
    if (recorders === undefined) models.set(model, (recorders = new Map()));
    recorders.set(label === undefined ? "" : (labels[label] ?? ""), recorder);
  }
  return models;
}

import type { LogEntry } from "./event-log.ts";

/** What is worth an entry when it begins and when it is over. */
const KINDS = {
  shed: { level: "warn", begins: "Shedding begins", ended: "Shedding ended" },
  expired: { level: "warn", begins: "Requests expire", ended: "No request expires any more" },
  error: { level: "bad", begins: "Errors begin", ended: "Errors ended" },
} as const;

/** It is over when there was none for this long, in samples (seconds): less, and one incident would be told as many. */
const QUIET_SAMPLES = 5;

type Kind = keyof typeof KINDS;

/** One model in one second. Counts are of this second. */
export type Observation = { readonly model: string; readonly workers: number } & Readonly<Record<Kind, number>>;

type Incident = { readonly sinceS: number; count: number; quiet: number };
type Watched = { workers: number; readonly incidents: Map<Kind, Incident> };
type Entry = Omit<LogEntry, "id">;

/** Finds beginnings and ends in what each second was like: of sheds, expiries, errors, and of models without a worker. */
export class Incidents {
  #watched = new Map<string, Watched>();

  /** Takes a second of every model; returns what is to be told. `at`: seconds of the wall clock. */
  observe(observations: readonly Observation[], at: number): Entry[] {
    const entries: Entry[] = [];
    const watched = new Map<string, Watched>();
    for (const observation of observations) {
      const { model, workers } = observation;
      const before = this.#watched.get(model) ?? { workers: -1, incidents: new Map<Kind, Incident>() };
      watched.set(model, before);
      if (workers === 0 && before.workers !== 0)
        entries.push({ at, level: "bad", what: "No worker serves", detail: model });
      if (workers > 0 && before.workers <= 0)
        entries.push({ at, level: "good", what: "Model is served", detail: model });
      before.workers = workers;
      for (const kind of Object.keys(KINDS) as Kind[]) {
        const entry = step(kind, before, { ...observation, at });
        if (entry !== undefined) entries.push(entry);
      }
    }
    this.#watched = watched;
    return entries;
  }
}

function step(kind: Kind, { incidents }: Watched, now: Observation & { readonly at: number }): Entry | undefined {
  const { level, begins, ended } = KINDS[kind];
  const incident = incidents.get(kind);
  if (now[kind] > 0) {
    if (incident !== undefined) {
      Object.assign(incident, { count: incident.count + now[kind], quiet: 0 });
      return undefined;
    }
    incidents.set(kind, { sinceS: now.at, count: now[kind], quiet: 0 });
    return { at: now.at, level, what: begins, detail: now.model };
  }
  if (incident === undefined || ++incident.quiet < QUIET_SAMPLES) return undefined;
  incidents.delete(kind);
  const seconds = Math.max(1, Math.round(now.at - incident.sinceS) - QUIET_SAMPLES);
  const detail = `${now.model}: ${Math.round(incident.count)} requests in ${seconds} s`;
  return { at: now.at, level: "info", what: ended, detail };
}

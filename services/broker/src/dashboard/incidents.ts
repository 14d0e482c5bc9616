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

/** One model as it stands: its workers, and how many requests have ended so since it is known. */
export type Observation = { readonly model: string; readonly workers: number } & Readonly<Record<Kind, number>>;

/** Times in seconds of the wall clock. `count`: the requests so far. */
type Incident = { readonly sinceS: number; lastS: number; count: number; quiet: number };
type Watched = { workers: number; ended: Readonly<Record<Kind, number>>; readonly incidents: Map<Kind, Incident> };
type Entry = Omit<LogEntry, "id">;

/** Finds beginnings and ends in what each sample adds to the one before, however late it is: of sheds, expiries, errors, and of models without a worker. */
export class Incidents {
  #watched = new Map<string, Watched>();

  /** Takes a sample of every model; returns what is to be told. `at`: seconds of the wall clock. */
  observe(observations: readonly Observation[], at: number): Entry[] {
    const entries: Entry[] = [];
    const watched = new Map<string, Watched>();
    for (const observation of observations) {
      const { model, workers } = observation;
      const before = this.#watched.get(model) ?? { workers: -1, ended: NONE, incidents: new Map<Kind, Incident>() };
      watched.set(model, before);
      if (workers === 0 && before.workers !== 0)
        entries.push({ at, level: "bad", what: "No worker serves", detail: model });
      if (workers > 0 && before.workers <= 0)
        entries.push({ at, level: "good", what: "Model is served", detail: model });
      before.workers = workers;
      for (const kind of Object.keys(KINDS) as Kind[]) {
        const count = Math.max(0, observation[kind] - before.ended[kind]);
        const entry = step(kind, before.incidents, { model, count, at });
        if (entry !== undefined) entries.push(entry);
      }
      before.ended = observation;
    }
    this.#watched = watched;
    return entries;
  }
}

const NONE: Readonly<Record<Kind, number>> = { shed: 0, expired: 0, error: 0 };

function step(
  kind: Kind,
  incidents: Map<Kind, Incident>,
  { model, count, at }: { readonly model: string; readonly count: number; readonly at: number },
): Entry | undefined {
  const { level, begins, ended } = KINDS[kind];
  const incident = incidents.get(kind);
  if (count > 0) {
    if (incident !== undefined) {
      Object.assign(incident, { count: incident.count + count, lastS: at, quiet: 0 });
      return undefined;
    }
    incidents.set(kind, { sinceS: at, lastS: at, count, quiet: 0 });
    return { at, level, what: begins, detail: model };
  }
  if (incident === undefined || ++incident.quiet < QUIET_SAMPLES) return undefined;
  incidents.delete(kind);
  const seconds = Math.max(1, Math.round(incident.lastS - incident.sinceS));
  return { at, level: "info", what: ended, detail: `${model}: ${incident.count} requests in ${seconds} s` };
}

/** Entries that are kept. */
const ENTRIES_MAX = 200;

/** Characters of an entry: names come from peers. */
const TEXT_MAX = 300;

/** How much an entry asks for attention. */
export type EventLevel = "info" | "good" | "warn" | "bad";

/** What happened: `at` in seconds of the wall clock, for people alone. */
export type LogEntry = {
  readonly id: number;
  readonly at: number;
  readonly level: EventLevel;
  readonly what: string;
  readonly detail: string;
};

/** The latest events of the broker, for people who look at the page. Bounded in entries and in bytes. */
export class EventLog {
  #entries: LogEntry[] = [];
  #last = 0;

  add(entry: Omit<LogEntry, "id">): void {
    const [what, detail] = [entry.what.slice(0, TEXT_MAX), entry.detail.slice(0, TEXT_MAX)];
    this.#entries.push({ ...entry, id: ++this.#last, what, detail });
    if (this.#entries.length > ENTRIES_MAX) this.#entries.shift();
  }

  /** The number of the newest entry; 0: none. */
  get last(): number {
    return this.#last;
  }

  /** The entries that came after number `id`, the oldest first. */
  since(id: number): LogEntry[] {
    return this.#entries.filter((entry) => entry.id > id);
  }
}

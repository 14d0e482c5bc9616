/** Polls in a row that an address must be missing from before it counts as gone: resolvers answer late, and in part. */
const ABSENT_POLLS = 3;

/**
 * - `untold`: it has not said yet in this session whether it has workers.
 * - `serving`: it has.
 * - `idle`: it has none; those of a broker that has just come are on their way to it.
 * - `barren`: it has had none for so long that one that serves is better.
 */
type Service = "untold" | "serving" | "idle" | "barren";

/** What one look at all names gave: the addresses of each (`tcp://IP:PORT`), or why there are none. */
export type PollResults = ReadonlyMap<string, { readonly addresses: readonly string[] } | { readonly fault: string }>;

export type DirectoryEvent =
  | { readonly type: "polled"; readonly results: PollResults }
  /** The session with the broker at this address is open. */
  | { readonly type: "active"; readonly address: string }
  /** The broker at this address says that it takes nothing new. */
  | { readonly type: "draining"; readonly address: string }
  /** The broker at this address has workers for some model, or for none. Need not be told by peers that do not care. */
  | { readonly type: "told"; readonly address: string; readonly isServing: boolean }
  /** The time that `wait` asked for has passed. */
  | { readonly type: "waited"; readonly address: string; readonly spell: number }
  /** The session is not open any more. */
  | { readonly type: "lost"; readonly address: string };

export type DirectoryAction =
  | { readonly type: "connect"; readonly address: string }
  | { readonly type: "disconnect"; readonly address: string }
  /** New work goes there from now on; undefined: nowhere. */
  | { readonly type: "use"; readonly address: string | undefined }
  /** To be told `waited` with the same fields after three seconds: the broker has no workers as of now. */
  | { readonly type: "wait"; readonly address: string; readonly spell: number }
  /** Do not wait for the next poll: a broker goes, and its successor may be listed already. */
  | { readonly type: "poll" }
  /** A name has stopped being resolved; told once until it is resolved again. What it gave last stays. */
  | { readonly type: "unresolved"; readonly name: string; readonly fault: string }
  | { readonly type: "resolved"; readonly name: string; readonly addresses: readonly string[] };

type Source = { addresses: readonly string[]; isFailing: boolean };

type Entry = {
  /** Polls in a row that did not list it. */
  absentPolls: number;
  link: "connecting" | "active" | "draining";
  service: Service;
  /** Number of the last time that it was found without workers: a wait for an earlier one does not count. */
  spell: number;
  /** Order in which links became active. */
  turn: number;
};

/**
 * Which brokers there are, and which of them gets new work. Pure, and level-triggered: each poll tells all that is wanted, and
 * only the difference to what is there is acted upon.
 *
 * - An address is connected to as soon as it is listed. It is given up when three polls did not list it *and* its session is not
 *   open: a session that lives is better proof of a broker than a list, and one that drains still owes answers.
 * - A name that is not resolved keeps the addresses that it had.
 * - The broker in use stays in use until it is lost, drains, or is not listed any more while another one is. Its successor is a
 *   listed one before one that is not, among these one that has workers, and among these the one whose session has been open for
 *   longest. A list that has only brokers without workers counts for nothing beside one that has some.
 * - A broker in use that has had no workers for three seconds gives way to one that could succeed it and has some. At once would
 *   be too early: while workers restart, brokers hear of each of them at slightly different times.
 */
export class BrokerDirectory {
  /** Times that a name was not resolved. */
  failures = 0;
  /** Where new work goes: a broker whose session is open and that does not drain. */
  inUse: string | undefined;
  readonly #sources = new Map<string, Source>();
  readonly #entries = new Map<string, Entry>();
  #turns = 0;
  #spells = 0;

  /** Every address that is connected to. */
  get addresses(): string[] {
    return [...this.#entries.keys()];
  }

  /** Whether no broker takes new work because the last one is shutting down. */
  get isDraining(): boolean {
    return this.inUse === undefined && [...this.#entries.values()].some(({ link }) => link === "draining");
  }

  handle(event: DirectoryEvent): DirectoryAction[] {
    if (event.type === "polled") return [...this.#polled(event.results), ...this.#sweep(), ...this.#choose()];
    const entry = this.#entries.get(event.address);
    if (entry === undefined) return [];
    switch (event.type) {
      case "active":
        entry.link = "active";
        entry.service = "untold";
        entry.turn = ++this.#turns;
        return this.#choose();
      case "draining":
        entry.link = "draining";
        return [...this.#choose(), { type: "poll" }];
      case "lost":
        entry.link = "connecting";
        return [...this.#sweep(), ...this.#choose(), { type: "poll" }];
      case "told":
        return this.#told(entry, event);
      case "waited":
        if (entry.service !== "idle" || entry.spell !== event.spell) return [];
        entry.service = "barren";
        return this.#choose();
    }
  }

  #told(entry: Entry, { address, isServing }: DirectoryEvent & { readonly type: "told" }): DirectoryAction[] {
    if (isServing) {
      entry.service = "serving";
      return this.#choose();
    }
    if (entry.service === "idle" || entry.service === "barren") return [];
    entry.service = "idle";
    entry.spell = ++this.#spells;
    return [{ type: "wait", address, spell: entry.spell }];
  }

  #polled(results: PollResults): DirectoryAction[] {
    const actions: DirectoryAction[] = [];
    for (const [name, result] of results) actions.push(...this.#source(name, result));
    const listed = new Set([...this.#sources.values()].flatMap(({ addresses }) => addresses));
    for (const [address, entry] of this.#entries) entry.absentPolls = listed.has(address) ? 0 : entry.absentPolls + 1;
    for (const address of listed) {
      if (this.#entries.has(address)) continue;
      this.#entries.set(address, { absentPolls: 0, link: "connecting", service: "untold", spell: 0, turn: 0 });
      actions.push({ type: "connect", address });
    }
    return actions;
  }

  #source(name: string, result: { addresses: readonly string[] } | { fault: string }): DirectoryAction[] {
    const before = this.#sources.get(name) ?? { addresses: [], isFailing: false };
    if ("fault" in result) {
      this.failures++;
      this.#sources.set(name, { addresses: before.addresses, isFailing: true });
      return before.isFailing ? [] : [{ type: "unresolved", name, fault: result.fault }];
    }
    const addresses = result.addresses.toSorted();
    this.#sources.set(name, { addresses, isFailing: false });
    const isNews = before.isFailing || addresses.join() !== before.addresses.join();
    return isNews ? [{ type: "resolved", name, addresses }] : [];
  }

  /** Gives up what nobody lists and nobody hears of. */
  #sweep(): DirectoryAction[] {
    const gone = [...this.#entries].filter(([, entry]) => !isListed(entry) && entry.link === "connecting");
    return gone.map(([address]) => {
      this.#entries.delete(address);
      return { type: "disconnect", address };
    });
  }

  #choose(): DirectoryAction[] {
    const active = [...this.#entries].filter(([, { link }]) => link === "active");
    const listed = active.filter(([, entry]) => isListed(entry));
    const isBetter = listed.some(isServing) || !active.some(isServing);
    const candidates = listed.length > 0 && isBetter ? listed : active;
    const serving = candidates.filter(isServing);
    const current = candidates.find(([address]) => address === this.inUse);
    if (current !== undefined && (current[1].service !== "barren" || serving.length === 0)) return [];
    const successors = serving.length > 0 ? serving : candidates;
    const [address] = successors.toSorted(([, a], [, b]) => a.turn - b.turn)[0] ?? [];
    if (address === this.inUse) return [];
    this.inUse = address;
    return [{ type: "use", address }];
  }
}

function isServing([, { service }]: readonly [string, Entry]): boolean {
  return service === "serving";
}

function isListed({ absentPolls }: Entry): boolean {
  return absentPolls < ABSENT_POLLS;
}

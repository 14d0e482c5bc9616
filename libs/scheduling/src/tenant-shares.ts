/** What one tenant has had of one queue, by weight, and what it has waiting. */
export type Account<T> = {
  readonly weight: number;
  /** Rows that were let in and not given up since, by the weight. */
  taken: number;
  /** Its waiting entry that came last; the others follow by `older`. */
  newest: T | undefined;
};

/** An entry that waits on an account; `account` is undefined before and after. Kept by `TenantShares` alone. */
export type Accounted<T> = {
  readonly rows: number;
  readonly bytes: number;
  readonly deadlineMs: number;
  account: Account<T> | undefined;
  /** What its account had had when it came. */
  start: number;
  newer: T | undefined;
  older: T | undefined;
};

/** Accounts that are kept. Names come from outside: those for which there is no room share one account. */
export const ACCOUNTS_MAX = 1_000;

/**
 * Weight of the newest entry in where the service is. Entries leave by their deadlines, not by their shares: the latest of those that leave
 * are of whoever is ahead, and no measure for those who are behind.
 */
const SERVED_WEIGHT = 1 / 16;

/** Entries of an account that are looked at for one that stands early enough. */
const LOOKED_AT_MAX = 256;

/**
 * Who has had how much of a queue. An account is charged when an entry is let in, and gets back what is given up before it has run. One
 * that had nothing waiting starts where the service is (start-time fair queueing, Goyal et al. 1996): time in which a tenant
 * asks for nothing earns it nothing. All O(1) but for `mostServed`, `waiting`, and `find` of a new name where there is no room: O(accounts).
 */
export class TenantShares<T extends Accounted<T>> {
  readonly #weights: ReadonlyMap<string, number>;
  readonly #accounts = new Map<string, Account<T>>();
  #lastName = "";
  #last: Account<T>;
  /** Where the service is: the mean start of the entries that have left to run of late. */
  #served = 0;

  /** `weights`: by name; 1 for all others. */
  constructor(weights: ReadonlyMap<string, number>) {
    this.#weights = weights;
    this.#last = this.#open("");
  }

  /** Whether there is more than one account. */
  get areSeveral(): boolean {
    return this.#accounts.size > 1;
  }

  /** Whether more than one has something waiting. O(accounts). */
  get isContended(): boolean {
    let waiting = 0;
    if (this.areSeveral) for (const { newest } of this.#accounts.values()) if (newest !== undefined) waiting++;
    return waiting > 1;
  }

  /** The account of that name, opened if need be. */
  find(name: string): Account<T> {
    if (name === this.#lastName) return this.#last;
    this.#last = this.#accounts.get(name) ?? this.#open(name);
    this.#lastName = name;
    return this.#last;
  }

  /** What an account would have had with so many rows more. */
  with(account: Account<T>, rows: number): number {
    return this.#startOf(account) + rows / account.weight;
  }

  /** An entry waits from now on. */
  charge(account: Account<T>, entry: T): void {
    entry.start = this.#startOf(account);
    account.taken = entry.start + entry.rows / account.weight;
    entry.account = account;
    entry.older = account.newest;
    if (account.newest !== undefined) account.newest.newer = entry;
    account.newest = entry;
  }

  /** An entry leaves to run. */
  leaves(entry: T): void {
    if (entry.account === undefined) return;
    this.#served += SERVED_WEIGHT * (entry.start - this.#served);
    this.#unlink(entry, entry.account);
  }

  /** An entry is given up before it has run, if it has not. */
  refund(entry: T): void {
    const { account } = entry;
    if (account === undefined) return;
    account.taken -= entry.rows / account.weight;
    this.#unlink(entry, account);
  }

  /** Of those that have something waiting, the one that has had most. */
  mostServed(): Account<T> | undefined {
    let most: Account<T> | undefined;
    for (const account of this.#accounts.values())
      if (account.newest !== undefined && (most === undefined || account.taken > most.taken)) most = account;
    return most;
  }

  /** Those that have something waiting, the one that has had most first. */
  waiting(): readonly Account<T>[] {
    return [...this.#accounts.values()].filter(({ newest }) => newest !== undefined).sort((a, b) => b.taken - a.taken);
  }

  #startOf(account: Account<T>): number {
    return account.newest === undefined ? Math.max(account.taken, this.#served) : account.taken;
  }

  #open(name: string): Account<T> {
    if (this.#accounts.size >= ACCOUNTS_MAX) this.#close();
    if (this.#accounts.size >= ACCOUNTS_MAX) return this.#accounts.get("")!;
    const account: Account<T> = { weight: this.#weights.get(name) ?? 1, taken: 0, newest: undefined };
    this.#accounts.set(name, account);
    return account;
  }

  /** Closes the oldest account that is no different from a new one. */
  #close(): void {
    for (const [name, account] of this.#accounts) {
      if (name === "" || account.newest !== undefined || account.taken > this.#served) continue;
      this.#accounts.delete(name);
      if (name === this.#lastName) this.find("");
      return;
    }
  }

  #unlink(entry: T, account: Account<T>): void {
    const { newer, older } = entry;
    if (newer === undefined) account.newest = older;
    else newer.older = older;
    if (older !== undefined) older.newer = newer;
    entry.account = entry.newer = entry.older = undefined;
  }
}

/** Whose places are wanted: `untilMs`: only those that are due by then; `keep`: what the account must have had without them. */
export type Wanted = { readonly rows: number; readonly bytes: number; readonly untilMs: number; readonly keep: number };

/**
 * The latest entries of an account that together give way to what is wanted, or undefined. It looks at the latest 256, and takes of them
 * those that are due in time. O(256).
 */
export function entriesToYield<T extends Accounted<T>>(account: Account<T>, wanted: Wanted): T[] | undefined {
  const entries: T[] = [];
  let [rows, bytes] = [0, 0];
  let left = LOOKED_AT_MAX;
  for (let entry = account.newest; entry !== undefined && left > 0; entry = entry.older, left--) {
    if (entry.deadlineMs > wanted.untilMs) continue;
    rows += entry.rows;
    bytes += entry.bytes;
    if (account.taken - rows / account.weight < wanted.keep) return undefined;
    entries.push(entry);
    if (rows >= wanted.rows && bytes >= wanted.bytes) return entries;
  }
  return undefined;
}

/** The least that a queue is allowed to stand, in ms: M of "Fail at Scale". */
const TARGET_MIN_MS = 5;

/** A queue stands when it has been above the target for so many targets: 100 ms for 5 ms, N of "Fail at Scale" and of RFC 8289, §4.3. */
const INTERVAL_TARGETS = 20;

/** Of a queue that stands, whoever has waited for so many targets is given up: the slough timeout of Wangle's Codel.cpp. */
const PATIENCE_TARGETS = 2;

/** What a batch leaves behind of those whose deadlines do not bind. */
export type LeftBehind = {
  /** For how long the oldest of them has waited, in ms; 0 if there is none. */
  readonly oldestMs: number;
  /** Rows that wait in the queue, theirs and others'. */
  readonly rows: number;
};

/**
 * Whether a queue stands: CoDel (Nichols and Jacobson, RFC 8289) as servers use it (Maurer, "Fail at Scale", ACM Queue 13/8, 2015; Wangle's
 * Codel.cpp), with adaptive LIFO. It is for requests whose deadlines do not bind: those that do are the plan's and the door's to
 * keep. A queue that is emptied now and then is what batches are made of; one of which the oldest has waited longer than the
 * target, at each look for a whole interval, only makes everybody late. While it stands the newest go first, who are still waited
 * for, and the oldest are given up once they have waited for two targets.
 *
 * It looks after each batch, at the oldest that this leaves behind: under LIFO the time that the served have waited says nothing. A
 * queue of less than the next batch never begins to stand (RFC 8289: less than one packet), and the target is the time of a largest
 * batch, at least 5 ms: who has just missed one waits so long in any case. It stands until a batch
 * leaves nobody behind: it is kept short meanwhile, and how short says nothing. Pure; each call is O(1).
 */
export class Codel {
  #aboveSinceMs = Infinity;
  #stands = false;

  /** Whether the queue stands. */
  get stands(): boolean {
    return this.#stands;
  }

  /** Whether it may soon: a look is needed although nothing is left behind. */
  get isInDoubt(): boolean {
    return this.#aboveSinceMs !== Infinity;
  }

  /** Looks at what a batch leaves behind. `batch`: the largest one, its rows and its time in ms; Infinity: not known, nothing stands. */
  look(left: LeftBehind, batch: { readonly rows: number; readonly ms: number }, nowMs: number): void {
    const targetMs = targetMsOf(batch.ms);
    const isFine = this.#stands ? left.oldestMs === 0 : left.rows < batch.rows || !(left.oldestMs > targetMs);
    if (isFine) {
      this.#aboveSinceMs = Infinity;
      this.#stands = false;
      return;
    }
    this.#aboveSinceMs = Math.min(this.#aboveSinceMs, nowMs);
    this.#stands = nowMs - this.#aboveSinceMs >= INTERVAL_TARGETS * targetMs;
  }
}

/** For how long a request waits in a queue that stands before it is given up, in ms. `batchMs`: the time of a largest batch. */
export function patienceMsOf(batchMs: number): number {
  return PATIENCE_TARGETS * targetMsOf(batchMs);
}

/**
 * The entries that a queue that stands gives up before its next batch: those that came `sinceMs` or earlier. `waiting`: the oldest
 * first. At least `keptRows` of all `rows` stay, so that the batch is as large as it may be. O(entries given up).
 */
export function staleOf<T extends { readonly receivedMs: number; readonly rows: number }>(
  waiting: Iterable<T>,
  { sinceMs, rows, keptRows }: { readonly sinceMs: number; readonly rows: number; readonly keptRows: number },
): T[] {
  const stale: T[] = [];
  let left = rows;
  for (const entry of waiting) {
    left -= entry.rows;
    if (entry.receivedMs > sinceMs || left < keptRows) break;
    stale.push(entry);
  }
  return stale;
}

function targetMsOf(batchMs: number): number {
  return Math.max(TARGET_MIN_MS, batchMs);
}

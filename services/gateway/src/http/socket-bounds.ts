import { Refusal } from "./refusal.ts";

/** When a full gateway may be tried again, in milliseconds: it cannot tell, so as soon as the header can say. */
export const FULL_RETRY_AFTER_MS = 1000;

/** The bytes that a gateway holds of bodies, and of answers that their clients have not taken yet. */
export class ByteBound {
  /** Bytes, above 0. */
  readonly max: number;
  held = 0;

  constructor(max: number) {
    this.max = max;
  }

  /** Whether so many more bytes may come for somebody who has `own` of those that are held: one alone may have more than the bound. */
  fits(more: number, own: number): boolean {
    return this.held + more <= this.max || this.held === own;
  }

  refusal(): Refusal {
    return new Refusal("queue_full", `${this.max} bytes of bodies are held, no more are accepted`, FULL_RETRY_AFTER_MS);
  }
}

/** How slowly a client may send and read: so many bytes a second on the average, from the end of a time of grace. */
export type RateBound = {
  /** 0: as slowly as it likes. */
  readonly bodyBytesPerSecondMin: number;
  readonly bodyGraceMs: number;
};

export const NO_RATE: RateBound = { bodyBytesPerSecondMin: 0, bodyGraceMs: 0 };

/**
 * How long so many bytes may take, in milliseconds; Infinity without a bound. The rule, and its defaults of 240 bytes a second after
 * 5 s, are those of Kestrel's MinRequestBodyDataRate: a pause is forgiven to who was fast before, a byte a second never.
 */
export function allowedMs(bytes: number, { bodyBytesPerSecondMin, bodyGraceMs }: RateBound): number {
  return bodyBytesPerSecondMin === 0 ? Infinity : bodyGraceMs + (1000 * bytes) / bodyBytesPerSecondMin;
}

/** The longest that node's timers can wait, in milliseconds: 25 days. */
export const TIMER_MS_MAX = 2 ** 31 - 1;

/** A body that is arriving: a link of a list, so that nothing is made or looked up for the many that arrive at once. */
export interface ArrivingBody {
  older: ArrivingBody | undefined;
  newer: ArrivingBody | undefined;
  /** Since when, on the clock of `performance.now()`. */
  readonly receivedMs: number;
  readonly arrivedBytes: number;
  /** It has taken too long: ends it, and takes it out of the list. */
  refuseSlow(): void;
}

/** Every body that is arriving. Pure: whoever has a clock calls `end` now and then. */
export class ArrivingBodies {
  readonly #bound: RateBound;
  #oldest: ArrivingBody | undefined;
  #newest: ArrivingBody | undefined;

  constructor(bound: RateBound) {
    this.#bound = bound;
  }

  add(body: ArrivingBody): void {
    body.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = body;
    else this.#newest.newer = body;
    this.#newest = body;
  }

  /** Takes one out that is in the list. */
  delete(body: ArrivingBody): void {
    const { older, newer } = body;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    body.older = body.newer = undefined;
  }

  /** Refuses those that come too slowly, the oldest first, `most` at a time: a thousand together would hold everybody. O(bodies). */
  end(nowMs: number, most: number): void {
    let left = most;
    for (let body = this.#oldest; body !== undefined && left > 0;) {
      const { newer } = body;
      if (nowMs - body.receivedMs > allowedMs(body.arrivedBytes, this.#bound)) {
        body.refuseSlow();
        left--;
      }
      body = newer;
    }
  }
}

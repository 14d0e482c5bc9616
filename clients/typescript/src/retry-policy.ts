/** Waits between attempts for which the server names no time: up to 100 ms before the second, doubled from there, up to 5 s. */
const BACKOFF_MS = 100;
const BACKOFF_MS_MAX = 5_000;
/** Added to the time that a server names, at most as a share of it, so that those who were refused together do not return together. */
const SPREAD = 0.2;

/** Retries that a client may have open before it has had successes, and what each success adds. */
const TOKENS_MAX = 10;
const TOKENS_PER_SUCCESS = 0.1;

/**
 * When a refused call is sent again. Pure: randomness is given to it.
 *
 * Only what was refused before it ran is sent again: 429 and 503. Each call has so many retries, and all calls of a client share a
 * budget, as in gRPC's retry throttling (https://github.com/grpc/proposal/blob/master/A6-client-retries.md): ten tokens, one for
 * each retry, a tenth back for each success. A client whose every call is refused so adds a tenth to a server's load at most, once
 * the tokens are gone.
 */
export class RetryPolicy {
  readonly #retries: number;
  #tokens = TOKENS_MAX;

  /** @param retries the most of one call; 0 for none. */
  constructor(retries: number) {
    this.#retries = retries;
  }

  succeeded(): void {
    this.#tokens = Math.min(TOKENS_MAX, this.#tokens + TOKENS_PER_SUCCESS);
  }

  /**
   * How long to wait before the call is sent again, in milliseconds; undefined if it is not to be.
   *
   * @param refusal status of the answer, how many attempts there were, what the server's Retry-After says (undefined: nothing),
   *   and the time that the call has left, both in milliseconds; a call whose wait would not leave it any time has failed.
   * @param random at least 0, below 1.
   */
  waitMs(
    refusal: {
      readonly status: number;
      readonly attempts: number;
      readonly retryAfterMs: number | undefined;
      readonly leftMs: number;
    },
    random: number,
  ): number | undefined {
    const { status, attempts, retryAfterMs, leftMs } = refusal;
    if ((status !== 429 && status !== 503) || attempts > this.#retries || this.#tokens < 1) return undefined;
    const backoffMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS * 2 ** (attempts - 1)) * random;
    const waitMs = retryAfterMs === undefined ? backoffMs : retryAfterMs * (1 + SPREAD * random);
    if (waitMs >= leftMs) return undefined;
    this.#tokens -= 1;
    return waitMs;
  }
}

/** Retry-After in milliseconds from now: seconds, or a date; undefined if it is neither. */
export function retryAfterMs(header: string | null, nowMs: number): number | undefined {
  if (header === null) return undefined;
  if (/^\d+$/.test(header)) return Number(header) * 1_000;
  const dateMs = Date.parse(header);
  return Number.isNaN(dateMs) ? undefined : Math.max(0, dateMs - nowMs);
}

/** What else is known of a call that failed. */
export type InferenceErrorDetails = {
  readonly code: string;
  readonly status: number;
  readonly requestId?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
};

/**
 * A call that was refused, failed, or did not come to an answer. The message is the server's where there is one.
 *
 * `code` is the server's own (Millrace's docs/errors.md), `http_error` where a server has none, or one of the client's:
 * `client_timeout` (the call's time has passed), `network_error` (no connection, or a broken one; see `cause`) and
 * `invalid_answer` (what came is not the protocol's).
 */
export class InferenceError extends Error {
  override readonly name = "InferenceError";
  readonly code: string;
  /** Of the HTTP answer; 0 if there was none. */
  readonly status: number;
  /** Under which the server has logged the request, if it told. */
  readonly requestId: string | undefined;
  /** What the server asks to be waited for before the next attempt, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, details: InferenceErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = details.code;
    this.status = details.status;
    this.requestId = details.requestId;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** An answer that is not the protocol's. */
export function invalidAnswer(message: string): InferenceError {
  return new InferenceError(message, { code: "invalid_answer", status: 200 });
}

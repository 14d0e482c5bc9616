import type { Refusal } from "./refusal.ts";

/**
 * One HTTP request and its answer, however it came: over a socket (NodeExchange) or by a test's `app.request()`
 * (FetchExchange). The routes see nothing else of HTTP.
 */
export interface Exchange {
  /** When the request's head was there, on the clock of `performance.now()`. */
  readonly receivedMs: number;
  /** When the first byte of the body was there; `receivedMs` where there is no body. */
  readonly firstByteMs: number;
  readonly method: string;
  /** The target without its query, as the client wrote it. */
  readonly path: string;
  /** The client's `x-request-id`, or a new one; `send` returns it to the client. */
  readonly requestId: string;
  /** A header's value; `name` in lower case. Several lines of one name come joined by ", ". */
  header(name: string): string | undefined;
  /**
   * Reads the whole body and calls back once with it, or with `body_too_large` beyond `bytesMax` (at once where
   * Content-Length says so). Never calls back if the client goes away first. Call it at most once.
   */
  readBody(bytesMax: number, onBody: (body: Buffer | Refusal) => void): void;
  /** Counts so many bytes more as held for this request, until its answer: what a body has become. A refusal where there is no room. */
  hold(bytes: number): Refusal | undefined;
  /** Calls back once if the client goes away before the answer has been written to it. Call it at most once. */
  onGone(callback: () => void): void;
  /**
   * Answers with JSON, or with the bytes of several parts, one behind the other; the second call and later ones do nothing. `headers`
   * is flat: name, value, name, value; length and request id are added, and with JSON the type. Parts are borrowed until they
   * are written, and not copied. What of the request's body has not been read is thrown away.
   */
  send(status: number, headers: readonly string[], body: string | readonly Uint8Array[]): void;
}

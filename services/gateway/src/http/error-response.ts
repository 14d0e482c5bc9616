import { ERROR_CODES, type ErrorCode } from "@millrace/protocol";
import type { Exchange } from "./exchange.ts";
import type { Refusal } from "./refusal.ts";

/** What a refusal becomes in HTTP. `headers` is flat: name, value, name, value. */
export type ErrorResponse = { readonly status: number; readonly headers: readonly string[]; readonly body: string };

/** When nobody knows better: the time after which a client may try again. */
const RETRY_AFTER_SECONDS_MIN = 1;

/** The answer for a refusal: the status of the error table, JSON, and `Retry-After` with 429 and 503. */
export function errorResponse(refusal: Refusal): ErrorResponse {
  const status = ERROR_CODES[refusal.code].http;
  const headers: string[] = [];
  if (status === 429 || status === 503) headers.push("retry-after", retryAfterText(refusal.retryAfterMs));
  if (status === 401) headers.push("www-authenticate", "Bearer");
  // The next request of this connection had better go to another process.
  if (refusal.code === "draining") headers.push("connection", "close");
  return { status, headers, body: errorText(refusal.code, refusal.message) };
}

/** Answers with an error. */
export function sendRefusal(exchange: Exchange, refusal: Refusal): void {
  const { status, headers, body } = errorResponse(refusal);
  exchange.send(status, headers, body);
}

/** The body of every error of every route. */
export function errorText(code: ErrorCode, message: string): string {
  return `{"error":${JSON.stringify(message)},"code":"${code}"}`;
}

/** Whole seconds, as the header wants them, rounded up so that nobody comes too early. */
function retryAfterText(retryAfterMs: number): string {
  return String(Math.max(RETRY_AFTER_SECONDS_MIN, Math.ceil(retryAfterMs / 1000)));
}

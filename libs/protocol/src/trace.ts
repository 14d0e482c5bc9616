/**
 * The trace context of a request, as SUBMIT and JOB carry it: up to three lines of ASCII, W3C `traceparent`, `tracestate`, and the
 * id by which the gateway's log and its client know the request. What is not there is empty; empty lines at the end are left out.
 * Source of the first two: https://www.w3.org/TR/trace-context/.
 */

const NO_TRACE = Buffer.alloc(0);

/** The context of a request of which nothing but its id is known; at most 128 characters of ASCII without line feeds, "" = none. */
export function encodeTrace(requestId: string): Uint8Array {
  return requestId === "" ? NO_TRACE : Buffer.from(`\n\n${requestId}`, "latin1");
}

/** Characters of an id that are told: a peer may send any. */
const SHOWN_CHARACTERS = 128;

/** The request's id, as a log may show it; "" = none. Never throws, whatever the bytes. */
export function requestIdOf(trace: Uint8Array): string {
  const text = Buffer.from(trace.buffer, trace.byteOffset, trace.byteLength).toString("latin1");
  return (text.split("\n", 3)[2] ?? "").slice(0, SHOWN_CHARACTERS).replace(/[^\x21-\x7e]/g, "?");
}

/** Ids of many requests that a log line shows. */
const SHOWN_IDS = 10;

/** The ids of the first ten of several requests, with spaces between. */
export function requestIdsOf(traces: readonly Uint8Array[]): string {
  return traces
    .slice(0, SHOWN_IDS)
    .map(requestIdOf)
    .filter((id) => id !== "")
    .join(" ");
}

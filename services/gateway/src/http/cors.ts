/**
 * Which pages of other origins may use a gateway from a browser. Pure. Source: https://fetch.spec.whatwg.org/#http-cors-protocol. There are no
 * cookies here, so credentials are never allowed; an API key goes in `Authorization` all the same.
 */

/** Headers of answers that scripts may read beside those that they always may. */
const EXPOSED = "inference-header-content-length, retry-after, server-timing, x-request-id";

/** How long a browser may remember what it was told, in seconds: as long as any does. */
const MAX_AGE_S = "7200";

/** Names of headers that a page asks to send, with commas between; others are not repeated. */
const HEADER_NAMES = /^[\w-]+(?:, ?[\w-]+){0,63}$/;

/** Whether a text is an origin as browsers write it, or `*`, which is all of them. */
export function isOrigin(text: string): boolean {
  return text === "*" || (/^https?:\/\//.test(text) && URL.canParse(text) && new URL(text).origin === text);
}

/** Headers to add to the answer to a request from this origin; flat: name, value. None where it is not among `allowed`. */
export function corsHeaders(allowed: readonly string[], origin: string): string[] {
  const isAny = allowed.includes("*");
  if (!isAny && !allowed.includes(origin)) return ["vary", "origin"];
  const answer = ["access-control-allow-origin", isAny ? "*" : origin, "access-control-expose-headers", EXPOSED];
  return isAny ? answer : [...answer, "vary", "origin"];
}

/** What is to be added where a browser only asks whether it may; `asked`: the headers that it would send. */
export function preflightHeaders(asked: string | undefined): string[] {
  const methods = ["access-control-allow-methods", "GET, HEAD, POST", "access-control-max-age", MAX_AGE_S];
  if (asked === undefined || !HEADER_NAMES.test(asked)) return methods;
  return [...methods, "access-control-allow-headers", asked];
}

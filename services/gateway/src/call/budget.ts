import { describe, Refusal } from "../http/refusal.ts";

/** Where a request's timeout may come from, in milliseconds; 0 = not given there. The first that is given holds. */
export type TimeoutSources = {
  /** From the header `x-request-timeout-ms`. */
  readonly headerMs: number;
  /** From the protocol's `timeout` parameter. */
  readonly parameterMs: number;
  /** From the model's description. */
  readonly modelMs: number;
};

/** The bounds that the operator sets, in milliseconds: what holds where nobody asks, and the most that anybody gets. */
export type TimeoutBounds = { readonly requestTimeoutMs: number; readonly requestTimeoutMsMax: number };

/** The time that a request has from its first byte to its answer, in milliseconds. */
export function timeoutOf(sources: TimeoutSources, bounds: TimeoutBounds): number {
  const asked = sources.headerMs || sources.parameterMs || sources.modelMs || bounds.requestTimeoutMs;
  return Math.min(asked, bounds.requestTimeoutMsMax);
}

/** The header `x-request-timeout-ms`: a whole number of 1 or more, 0 where it is not given; else `invalid_request`. */
export function readTimeoutHeader(text: string | undefined): number | Refusal {
  if (text === undefined) return 0;
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  return new Refusal(
    "invalid_request",
    `x-request-timeout-ms must be a whole number of 1 or more, it is ${describe(text)}`,
  );
}

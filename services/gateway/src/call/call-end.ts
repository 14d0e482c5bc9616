import { ERROR_CODES, type ErrorCode, type ModelDescription, type Outcome, outcomeOf } from "@millrace/protocol";
import { errorResponse } from "../http/error-response.ts";
import type { Exchange } from "../http/exchange.ts";
import type { StageDurations } from "../broker/inference.ts";
import type { Refusal } from "../http/refusal.ts";
import type { GatewayDurations } from "../http/server-timing.ts";

/** How one inference call ended, or a request that was refused before it became one. */
export type CallEnd = {
  /** Where it came from. */
  readonly exchange: Pick<Exchange, "requestId" | "receivedMs" | "method" | "path" | "header">;
  /** The HTTP status of the answer; 499, which nobody sees, where the client went away before it. */
  readonly status: number;
  /** Why it was not served; undefined where it was. */
  readonly code: ErrorCode | undefined;
  /** In words, for the client: they may repeat what the client has sent. */
  readonly message: string;
  /** Undefined where none was found. */
  readonly model: ModelDescription | undefined;
  /** Where its time went, in the gateway and behind it; undefined where no answer came from there. */
  readonly stages: { readonly own: GatewayDurations; readonly behind: StageDurations } | undefined;
};

/** How a call ends in HTTP, in metrics and log: as in the broker, and `invalid` where the client is to blame. */
export type HttpOutcome = Outcome | "invalid";

/** The outcome of a call that ended with this error; undefined: with a result. */
export function httpOutcomeOf(code: ErrorCode | undefined): HttpOutcome {
  if (code === undefined) return "ok";
  const outcome = outcomeOf(code);
  return outcome === "error" && ERROR_CODES[code].fault === "client" ? "invalid" : outcome;
}

/** Who watches calls begin and end: metrics and the access log. */
export type CallObserver = {
  /** An inference call for this model is here; its end follows. */
  began(model: ModelDescription): void;
  /** A call has ended, whatever way, once; or a request that has not become one was refused. Must not throw. */
  ended(end: CallEnd): void;
};

/** Who is told of a refusal, and what else there is to tell: headers as in `Exchange.send`, and the model where it is known. */
type RefusalContext = {
  readonly observer: CallObserver;
  readonly headers?: readonly string[];
  readonly model?: ModelDescription | undefined;
};

/** Answers a request that has not become a call with an error, and tells who watches. */
export function refuse(exchange: Exchange, refusal: Refusal, { observer, headers = [], model }: RefusalContext): void {
  if (model !== undefined) observer.began(model);
  const answer = errorResponse(refusal);
  exchange.send(answer.status, [...answer.headers, ...headers], answer.body);
  const { code, message } = refusal;
  observer.ended({ exchange, status: answer.status, code, message, model, stages: undefined });
}

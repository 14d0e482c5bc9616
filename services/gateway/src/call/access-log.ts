import { ERROR_CODES, type ErrorCode } from "@millrace/protocol";
import { type CallEnd, httpOutcomeOf } from "./call-end.ts";

/** Lines a second for each reason that a request was not served; what is beyond is counted and told in one line. */
const LINES_PER_SECOND = 10;
const WINDOW_MS = 1000;

/** Characters of a path that are logged: a client may send any. */
const PATH_CHARACTERS = 200;

const NS_PER_MS = 1e6;

/** One line to be written. */
export type AccessLine = {
  readonly level: "info" | "warn" | "error";
  readonly fields: Readonly<Record<string, string | number>>;
  readonly text: string;
};

/**
 * Which ended calls are worth a line, and what it says. Pure. Every call that was not served has one, the first ten a second for
 * each reason, and the others are counted; of those that were served each n-th has one.
 */
export class AccessLog {
  readonly #sample: number;
  #served = 0;
  #windowMs = 0;
  /** In the present second. */
  readonly #counts = new Map<ErrorCode, number>();

  /** `sample`: of how many served calls one is logged; 0 = of none. */
  constructor(sample: number) {
    this.#sample = sample;
  }

  /** The lines to write now that this call has ended: usually none or one. */
  ended(end: CallEnd, nowMs: number): AccessLine[] {
    if (end.code === undefined) {
      if (this.#sample === 0 || this.#served++ % this.#sample !== 0) return [];
      return [lineOf(end, nowMs)];
    }
    const lines = this.flush(nowMs);
    const count = (this.#counts.get(end.code) ?? 0) + 1;
    this.#counts.set(end.code, count);
    if (count <= LINES_PER_SECOND) lines.push(lineOf(end, nowMs));
    return lines;
  }

  /** What was left out of a second that is over: to be called at least once a second. */
  flush(nowMs: number): AccessLine[] {
    if (nowMs - this.#windowMs < WINDOW_MS) return [];
    this.#windowMs = nowMs;
    const lines: AccessLine[] = [];
    for (const [code, count] of this.#counts) {
      const omitted = count - LINES_PER_SECOND;
      if (omitted <= 0) continue;
      const fields = { "error.code": code, outcome: httpOutcomeOf(code), omitted };
      lines.push({ level: levelOf(code), fields, text: `${omitted} more requests ended with ${code}` });
    }
    this.#counts.clear();
    return lines;
  }
}

function lineOf(end: CallEnd, nowMs: number): AccessLine {
  const { exchange, status, code, message, model, stages } = end;
  const fields: Record<string, string | number> = {
    "event.outcome": code === undefined ? "success" : code === "cancelled" ? "unknown" : "failure",
    "event.duration": Math.round((nowMs - exchange.receivedMs) * NS_PER_MS),
    "http.request.id": exchange.requestId,
    "http.request.method": exchange.method,
    "url.path": exchange.path.slice(0, PATH_CHARACTERS),
    "http.response.status_code": status,
    outcome: httpOutcomeOf(code),
  };
  if (model !== undefined) Object.assign(fields, { model: model.name, model_version: model.version });
  if (code !== undefined) fields["error.code"] = code;
  // What a client or a model did wrong is told to the client in words that may repeat its data: those are not for a log.
  if (code !== undefined && isOurs(code)) fields["error.message"] = message;
  const trace = traceIdOf(exchange.header("traceparent"));
  if (trace !== undefined) fields["trace.id"] = trace;
  if (stages !== undefined) Object.assign(fields, stageFields(stages));
  return { level: levelOf(code), fields, text: code === undefined ? "request served" : `request ended: ${code}` };
}

function levelOf(code: ErrorCode | undefined): AccessLine["level"] {
  if (code === undefined || ERROR_CODES[code].fault === "client") return "info";
  return ERROR_CODES[code].http === 500 ? "error" : "warn";
}

function isOurs(code: ErrorCode): boolean {
  const { fault } = ERROR_CODES[code];
  return fault === "operator" || fault === "millrace";
}

/** The trace that a W3C `traceparent` names. */
function traceIdOf(header: string | undefined): string | undefined {
  return /^[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/.exec(header ?? "")?.[1];
}

function stageFields({ own, behind }: NonNullable<CallEnd["stages"]>): Record<string, number> {
  const ms: Record<string, number> = {
    parse: own.parseMs,
    preprocess: own.preprocessMs,
    gateway_queue: behind.gatewayQueueMs,
    broker_queue: behind.brokerQueueMs,
    batch_wait: behind.batchWaitMs,
    compute: behind.computeMs,
    postprocess: own.postprocessMs,
    retry: behind.retryMs,
    network: behind.networkMs,
    encode: own.encodeMs,
  };
  // The unit of event.duration.
  return Object.fromEntries(
    Object.entries(ms).map(([stage, value]) => [`millrace.stage.${stage}`, Math.round(value * NS_PER_MS)]),
  );
}

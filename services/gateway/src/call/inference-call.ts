import { ERROR_CODES, type ModelDescription, type Tensor } from "@millrace/protocol";
import type { Stage } from "@millrace/runtime";
import { ALL_JSON, type BinaryAnswer, readJsonBytes } from "../forms/binary-body.ts";
import { timeoutOf, type TimeoutBounds } from "./budget.ts";
import { bodyTooLarge } from "../http/body-buffer.ts";
import { type CallEnd, type CallObserver, refuse } from "./call-end.ts";
import { type CallHeaders, readCallHeaders } from "../http/call-headers.ts";
import { compress, COMPRESS_BYTES_MIN, expand } from "../http/compression.ts";
import { ACCEPTED_CODINGS, answerCoding, type Coding, requestCoding } from "../http/content-coding.ts";
import { errorResponse } from "../http/error-response.ts";
import type { Exchange } from "../http/exchange.ts";
import type { Inference, InferenceAnswer } from "../broker/inference.ts";
import type { InputSet } from "../forms/input-set.ts";
import { findServing } from "../routes/model-choice.ts";
import type { FormJob, FormThreads } from "../form-threads/form-pool.ts";
import { Refusal } from "../http/refusal.ts";
import { type GatewayDurations, serverTiming } from "../http/server-timing.ts";
import { isTooLong } from "../http/string-limit.ts";
import type { TenantAccess } from "./tenant-access.ts";
import { FULL_RETRY_AFTER_MS } from "../http/socket-bounds.ts";

/** What all inference calls of a gateway share. */
export type Door = {
  readonly inference: Inference;
  readonly limits: TimeoutBounds & {
    /** Calls between their head and their answer; one more is refused. */
    readonly inFlightMax: number;
    /** Bytes of the JSON in a body. */
    readonly jsonBytesMax: number;
    /** Bytes of JSON that is parsed or written on the event loop; a larger body or answer goes to a thread. */
    readonly inlineJsonBytesMax: number;
    /** Bytes of a body that is JSON and tensors behind it. */
    readonly bodyBytesMax: number;
    /** Bytes of an answer. */
    readonly answerBytesMax: number;
  };
  readonly formThreads: FormThreads;
  /** For tests: how long to sleep inside a stage, in milliseconds; undefined = nowhere, at no cost. */
  readonly delays: ReadonlyMap<Stage, number> | undefined;
  readonly access: TenantAccess;
  readonly isRefusing: () => boolean;
  /** Is told of every exception that a call ended with, and its request's id: a defect of ours. */
  readonly onDefect: (error: unknown, requestId: string) => void;
  readonly observer: CallObserver;
  /** Calls in flight now; counted by the calls themselves. */
  inFlight: number;
};

/** What every form of request is read to. */
export type FormRequest = InputSet & {
  readonly outputs: readonly string[];
  /** 0 = not given, both. */
  readonly timeoutMs: number;
  readonly priority: number;
};

type ServedAnswer = InferenceAnswer & { readonly ok: true };

/** What an answer is written from. */
export type FormAnswer<Request> = {
  readonly model: ModelDescription;
  readonly request: Request;
  readonly answer: ServedAnswer;
  /** Since the request's head was there. */
  readonly latencyMs: number;
  readonly httpRequestId: string;
};

/** JSON and tensors of an answer as bytes; `jsonBytes` is ALL_JSON where there is nothing else. */
export type WrittenAnswer = BinaryAnswer;

/** A form that requests and answers take; pure. */
export type Form<Request extends FormRequest> = {
  /** Under which `FORMS` has it. */
  readonly name: string;
  /** Whether bodies may hold binary tensors behind their JSON. */
  readonly takesBinary: boolean;
  /** `jsonBytes`: of the JSON at the body's start; ALL_JSON where the body is nothing else, as it always is unless `takesBinary`. */
  read(body: Buffer, model: ModelDescription, jsonBytes: number): Request | Refusal;
  /** About how many bytes of JSON `write` makes: what it costs. O(outputs). */
  jsonBytesAbout(answer: Pick<FormAnswer<Request>, "request" | "answer">): number;
  /** JSON text, or JSON and bytes. */
  write(answer: FormAnswer<Request>): string | BinaryAnswer | Refusal;
};

/**
 * - `reading`: admitted; the body arrives.
 * - `preparing`: the body is here; it is parsed and checked.
 * - `waiting`: handed over to the broker side.
 * - `finishing`: the answer is here; it is written.
 * - `done`: answered, or the client went away.
 */
type CallState = "reading" | "preparing" | "waiting" | "finishing" | "done";

/**
 * One inference call from its head to its answer, the same for every form. Driven by callbacks, which no promise delays; each
 * step takes the call to the next state, and once `done` nothing of it happens any more.
 */
class InferenceCall<Request extends FormRequest> {
  readonly #door: Door;
  readonly #exchange: Exchange;
  readonly #form: Form<Request>;
  readonly #model: ModelDescription;
  readonly #headers: CallHeaders;
  readonly #jsonBytes: number;
  readonly #coding: Coding | undefined;
  #state: CallState = "reading";
  #handle = 0;
  /** What another thread does for this call, and how long it is waited for. */
  #job: FormJob | undefined;
  #jobTimer: NodeJS.Timeout | undefined;
  #deadlineMs = 0;
  #parseMs = 0;
  #preprocessMs = 0;
  #postprocessMs = 0;

  constructor(
    door: Door,
    exchange: Exchange,
    to: { form: Form<Request>; model: ModelDescription; headers: CallHeaders } & BodyForm,
  ) {
    this.#door = door;
    this.#exchange = exchange;
    this.#form = to.form;
    this.#model = to.model;
    this.#headers = to.headers;
    this.#jsonBytes = to.jsonBytes;
    this.#coding = to.coding;
  }

  start(): void {
    this.#door.inFlight++;
    this.#door.observer.began(this.#model);
    this.#exchange.onGone(() => this.#onGone());
    this.#exchange.readBody(this.#bodyBytesMax, (body) => this.#onBody(body));
  }

  get #bodyBytesMax(): number {
    const { jsonBytesMax, bodyBytesMax } = this.#door.limits;
    return this.#jsonBytes === ALL_JSON ? jsonBytesMax : bodyBytesMax;
  }

  #onGone(): void {
    if (this.#state === "done") return;
    const wasWaiting = this.#state === "waiting";
    this.#cancelJob();
    this.#end({ code: "cancelled", message: "" });
    if (wasWaiting) this.#door.inference.cancel(this.#handle);
  }

  #onBody(body: Buffer | Refusal): void {
    if (this.#state !== "reading") return;
    this.#state = "preparing";
    if (body instanceof Refusal) return this.#refuse(body);
    if (this.#coding === undefined) return this.#onPlainBody(body);
    const hold = (bytes: number): Refusal | undefined => {
      return this.#state === "preparing" ? this.#exchange.hold(bytes) : NOBODY_WAITS;
    };
    expand(body, { coding: this.#coding, bytesMax: this.#bodyBytesMax, hold }, (expanded) => {
      if (this.#state !== "preparing") return;
      if (expanded instanceof Refusal) this.#refuse(expanded);
      else this.#onPlainBody(expanded);
    });
  }

  #onPlainBody(body: Buffer): void {
    if (this.#door.delays === undefined) this.#parse(body);
    else this.#pause("parse", () => this.#parse(body));
  }

  #parse(body: Buffer): void {
    try {
      const jsonBytes = this.#jsonBytes === ALL_JSON ? body.byteLength : this.#jsonBytes;
      if (jsonBytes > this.#door.limits.inlineJsonBytesMax) return this.#parseApart(body);
      this.#onParsed(this.#form.read(body, this.#model, this.#jsonBytes));
    } catch (error) {
      this.#fail(error);
    }
  }

  /** A body with large JSON is parsed where nobody waits for it, but for this call, and that not for ever. */
  #parseApart(body: Buffer): void {
    const { limits, formThreads } = this.#door;
    // What the body itself asks for is not known yet.
    const timeoutMs = Math.min(this.#headers.timeoutMs || Infinity, limits.requestTimeoutMsMax);
    const text = `the budget of ${timeoutMs} ms passed before the body was parsed`;
    this.#boundJob(this.#exchange.receivedMs + timeoutMs, () => this.#refuse(new Refusal("deadline_exceeded", text)));
    const { form, model, jsonBytes } = { form: this.#form.name, model: this.#model, jsonBytes: this.#jsonBytes };
    this.#job = formThreads.read({ form, model, body, jsonBytes }, (request) => {
      this.#jobEnded();
      // The same form has read it, in another thread.
      this.#onParsed(request as Request | Refusal);
    });
  }

  /** Waits until then for what another thread does. */
  #boundJob(untilMs: number, onLate: () => void): void {
    const late = (): void => {
      this.#cancelJob();
      onLate();
    };
    this.#jobTimer = setTimeout(late, Math.max(0, untilMs - performance.now()));
  }

  #cancelJob(): void {
    if (this.#job !== undefined) this.#door.formThreads.cancel(this.#job);
    this.#jobEnded();
  }

  #jobEnded(): void {
    clearTimeout(this.#jobTimer);
    this.#job = undefined;
  }

  #onParsed(request: Request | Refusal): void {
    try {
      if (request instanceof Refusal) return this.#refuse(request);
      const now = performance.now();
      this.#parseMs = now - this.#exchange.firstByteMs;
      if (this.#door.delays === undefined) this.#submit(request, now);
      else this.#pause("preprocess", (ms) => this.#submit(request, now + (this.#preprocessMs = ms)));
    } catch (error) {
      this.#fail(error);
    }
  }

  #submit(request: Request, now: number): void {
    const { limits, inference } = this.#door;
    const sources = {
      headerMs: this.#headers.timeoutMs,
      parameterMs: request.timeoutMs,
      modelMs: this.#model.timeoutMs,
    };
    const timeoutMs = timeoutOf(sources, limits);
    const budgetMs = timeoutMs - (now - this.#exchange.receivedMs);
    if (budgetMs <= 0) {
      return this.#refuse(new Refusal("deadline_exceeded", `the request took its ${timeoutMs} ms to arrive`));
    }
    this.#deadlineMs = now + budgetMs;
    this.#state = "waiting";
    this.#handle = inference.submit(
      {
        model: this.#model,
        rows: request.rows,
        bucket: request.bucket,
        cost: request.cost,
        inputs: request.inputs,
        payload: request.payload,
        outputs: request.outputs,
        budgetMs,
        priority: this.#headers.priority || request.priority,
        tenant: this.#headers.tenant,
        requestId: this.#exchange.requestId,
      },
      (answer) => this.#onAnswer(request, answer),
    );
  }

  #onAnswer(request: Request, answer: InferenceAnswer): void {
    if (this.#state !== "waiting") return;
    this.#state = "finishing";
    const now = performance.now();
    if (answer.hooks !== undefined) {
      this.#preprocessMs += answer.hooks.preprocessMs;
      this.#postprocessMs += answer.hooks.postprocessMs;
    }
    if (this.#door.delays === undefined || !answer.ok) return this.#write(request, answer, now);
    this.#pause("postprocess", (ms) => {
      this.#postprocessMs += ms;
      this.#pause("encode", () => this.#write(request, answer, now + ms));
    });
  }

  #write(request: Request, answer: InferenceAnswer, answeredMs: number): void {
    try {
      if (!answer.ok) {
        const refusal = new Refusal(answer.code, answer.message, answer.retryAfterMs);
        return this.#refuse(refusal, answer, answeredMs);
      }
      const { answerBytesMax, inlineJsonBytesMax } = this.#door.limits;
      const bytes = outputBytesOf(answer.outputs);
      if (bytes / OUTPUT_BYTES_A_JSON_BYTE > answerBytesMax) {
        return this.#refuse(answerTooLarge(answerBytesMax), answer, answeredMs);
      }
      const latencyMs = performance.now() - this.#exchange.receivedMs;
      const httpRequestId = this.#exchange.requestId;
      const given = { model: this.#model, request, answer, latencyMs, httpRequestId };
      // The first is quick to see, and enough for nearly all.
      if (
        bytes * JSON_BYTES_A_OUTPUT_BYTE > inlineJsonBytesMax &&
        this.#form.jsonBytesAbout(given) > inlineJsonBytesMax
      ) {
        return this.#writeApart(given, answeredMs);
      }
      this.#onWritten(this.#form.write(given), answer, answeredMs);
    } catch (error) {
      if (isTooLong(error)) return this.#refuse(answerTooLarge(this.#door.limits.answerBytesMax));
      this.#fail(error);
    }
  }

  /** An answer with large JSON is written where nobody waits for it, but for this call, within its budget. Meanwhile it is held. */
  #writeApart(given: FormAnswer<Request>, answeredMs: number): void {
    const { answer } = given;
    const refusal = this.#exchange.hold(this.#form.jsonBytesAbout(given));
    if (refusal !== undefined) return this.#refuse(refusal, answer, answeredMs);
    const text = "the budget passed before the answer was written; ask for it in binary form";
    this.#boundJob(this.#deadlineMs, () => this.#refuse(new Refusal("deadline_exceeded", text), answer, answeredMs));
    this.#job = this.#door.formThreads.write({ form: this.#form.name, answer: given }, (written) => {
      this.#jobEnded();
      try {
        this.#onWritten(written, answer, answeredMs);
      } catch (error) {
        this.#fail(error);
      }
    });
  }

  #onWritten(body: string | WrittenAnswer | Refusal, answer: ServedAnswer, answeredMs: number): void {
    const { answerBytesMax } = this.#door.limits;
    if (body instanceof Refusal) return this.#refuse(body, answer, answeredMs);
    const out = typeof body === "string" ? body : partsOf(body);
    const bytes = bytesOf(out);
    if (bytes > answerBytesMax) return this.#refuse(answerTooLarge(answerBytesMax), answer, answeredMs);
    const coding = bytes < COMPRESS_BYTES_MIN ? undefined : answerCoding(this.#exchange.header("accept-encoding"));
    // Meanwhile it is held; where there is no room for more it is sent as it is.
    if (coding === undefined || this.#exchange.hold(bytes) !== undefined) return this.#send(answer, answeredMs, out);
    compress(typeof out === "string" ? out : out.parts, coding, (compressed) => {
      if (this.#state === "done") return;
      this.#send(answer, answeredMs, compressed === undefined ? out : encoded(out, coding, compressed));
    });
  }

  #send(answer: ServedAnswer, answeredMs: number, out: string | Parts): void {
    const own = this.#durations(answeredMs);
    const timing = serverTiming(own, answer.stages, answer);
    if (typeof out === "string") this.#exchange.send(200, ["server-timing", timing], out);
    else this.#exchange.send(200, ["server-timing", timing, ...out.headers], out.parts);
    this.#end(undefined, { own, behind: answer.stages });
  }

  /** What the gateway itself took, of an answer that is about to be sent. */
  #durations(answeredMs: number): GatewayDurations {
    return {
      parseMs: this.#parseMs,
      preprocessMs: this.#preprocessMs,
      postprocessMs: this.#postprocessMs,
      encodeMs: performance.now() - answeredMs,
    };
  }

  #refuse(refusal: Refusal, answer?: InferenceAnswer, answeredMs = 0): void {
    const { status, headers, body } = errorResponse(refusal);
    if (answer === undefined) {
      this.#exchange.send(status, headers, body);
      return this.#end(refusal);
    }
    const own = this.#durations(answeredMs);
    const timing = serverTiming(own, answer.stages, answer.ok ? answer : undefined);
    this.#exchange.send(status, [...headers, "server-timing", timing], body);
    this.#end(refusal, { own, behind: answer.stages });
  }

  #fail(error: unknown): void {
    this.#door.onDefect(error, this.#exchange.requestId);
    if (this.#state !== "done") this.#refuse(new Refusal("internal", ERROR_CODES.internal.meaning));
  }

  #end(refusal: Pick<Refusal, "code" | "message"> | undefined, stages?: CallEnd["stages"]): void {
    this.#state = "done";
    this.#door.inFlight--;
    const status = refusal === undefined ? 200 : ERROR_CODES[refusal.code].http;
    const { code, message = "" } = refusal ?? {};
    this.#door.observer.ended({ exchange: this.#exchange, status, code, message, model: this.#model, stages });
  }

  /** For tests: sleeps inside a stage if it is to be slow, then goes on with the time that took, unless the client has gone. */
  #pause(stage: Stage, next: (ms: number) => void): void {
    const delayMs = this.#door.delays?.get(stage);
    if (delayMs === undefined) return next(0);
    const from = performance.now();
    setTimeout(() => {
      if (this.#state !== "done") next(performance.now() - from);
    }, delayMs);
  }
}

/** Ends what goes on for a client that has gone away. */
const NOBODY_WAITS = new Refusal("cancelled", "");

/** Whether a call may come in at all, whatever it asks for; checked before its body is read. */
function refusalAtDoor(door: Door): Refusal | undefined {
  if (door.isRefusing()) return new Refusal("draining", "this gateway is shutting down");
  if (door.inFlight >= door.limits.inFlightMax) {
    const text = `${door.limits.inFlightMax} requests are in flight, no more are accepted`;
    return new Refusal("queue_full", text, FULL_RETRY_AFTER_MS);
  }
  return undefined;
}

/** How a request's body came. */
type BodyForm = {
  /** Of the JSON at its start, once it is expanded; or ALL_JSON. */
  readonly jsonBytes: number;
  readonly coding: Coding | undefined;
};

/** An answer that is not JSON text alone: its bytes, and the headers that tell what they are. */
type Parts = { readonly parts: readonly Uint8Array[]; readonly headers: readonly string[] };

function partsOf({ parts, jsonBytes }: WrittenAnswer): Parts {
  if (jsonBytes === ALL_JSON) return { parts, headers: ["content-type", "application/json"] };
  const length = ["inference-header-content-length", String(jsonBytes)];
  return { parts, headers: ["content-type", "application/octet-stream", ...length] };
}

/** The length of the JSON stays what it is before the whole is compressed. `vary` takes the place of what cors.ts says there, so it says both. */
function encoded(out: string | Parts, coding: Coding, bytes: Buffer): Parts {
  const headers = typeof out === "string" ? ["content-type", "application/json"] : out.headers;
  return { parts: [bytes], headers: [...headers, "content-encoding", coding, "vary", "accept-encoding, origin"] };
}

/** JSON takes two bytes at least for each element of an output, whose size is eight at most: so that a hopeless answer is not written. */
const OUTPUT_BYTES_A_JSON_BYTE = 4;

/** A byte of an output becomes this many of JSON at most, as `jsonBytesAbout` counts: an element of one byte does, or an empty text. */
const JSON_BYTES_A_OUTPUT_BYTE = 17;

function outputBytesOf(outputs: readonly Tensor[]): number {
  let bytes = 0;
  for (const { data } of outputs) bytes += data.byteLength;
  return bytes;
}

/** Bytes of an answer, but for what characters beyond ASCII take more. */
function bytesOf(out: string | Parts): number {
  return typeof out === "string" ? out.length : out.parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

function answerTooLarge(bytesMax: number): Refusal {
  return new Refusal(
    "answer_too_large",
    `the answer is larger than ${bytesMax} bytes; ask for less, or in binary form`,
  );
}

/** How much of the body is JSON: `invalid_request` where the header makes no sense, `body_too_large`, or `unsupported` by the form. */
function jsonBytesOf(exchange: Exchange, form: Pick<Form<never>, "takesBinary">, { limits }: Door): number | Refusal {
  const header = exchange.header("inference-header-content-length");
  if (header === undefined) return ALL_JSON;
  if (!form.takesBinary) {
    return new Refusal(
      "unsupported",
      "binary tensor data (header Inference-Header-Content-Length) is not supported here",
    );
  }
  const bytes = readJsonBytes(header);
  return typeof bytes === "number" && bytes > limits.jsonBytesMax ? bodyTooLarge(limits.jsonBytesMax) : bytes;
}

/** Serves one inference call in the given form: admits or refuses it, and sees to its one answer. version "" = the default. */
export function serveInference<Request extends FormRequest>(
  door: Door,
  exchange: Exchange,
  ask: { readonly form: Form<Request>; readonly name: string | Refusal; readonly version: string },
): void {
  const { form, name, version } = ask;
  const refuseCall = (refusal: Refusal, more: readonly string[] = []): void => {
    const known = name instanceof Refusal ? undefined : door.inference.models.find(name, version);
    refuse(exchange, refusal, { observer: door.observer, model: known?.model, headers: more });
  };
  const refusal = refusalAtDoor(door);
  if (refusal !== undefined) return refuseCall(refusal);
  const headers = readCallHeaders(exchange, door.access);
  if (headers instanceof Refusal) return refuseCall(headers);
  const jsonBytes = jsonBytesOf(exchange, form, door);
  if (jsonBytes instanceof Refusal) return refuseCall(jsonBytes);
  const coding = requestCoding(exchange.header("content-encoding"));
  if (coding instanceof Refusal) return refuseCall(coding, ["accept-encoding", ACCEPTED_CODINGS]);
  const model = name instanceof Refusal ? name : findServing(door.inference, name, version);
  if (model instanceof Refusal) return refuseCall(model);
  new InferenceCall(door, exchange, { form, model, headers, jsonBytes, coding }).start();
}

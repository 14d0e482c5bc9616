import { setPriority } from "node:os";
import { isMarkedAsUntransferable, parentPort } from "node:worker_threads";
import type { ModelDescription } from "@millrace/protocol";
import { ALL_JSON } from "../forms/binary-body.ts";
import { FORMS } from "../forms/forms.ts";
import type { FormAnswer, FormRequest, WrittenAnswer } from "../call/inference-call.ts";
import type { FormOrder, FormPlace, FormReply, ReadOrder, WriteOrder } from "./form-message.ts";
import { Refusal } from "../http/refusal.ts";
import { isTooLong } from "../http/string-limit.ts";

/** Reads large bodies and writes large answers, one after the other. Entry point of a worker thread, started by form-pool.ts. */

const port = parentPort;
if (port === null) throw new Error("form-thread.ts runs in a worker thread only");

const models: ModelDescription[] = [];

/** How much more than others this thread gives way where processors are short: the event loop, on which everybody waits, goes first. */
const NICE = 10;

// Linux has a niceness for each thread, and 0 is the one that calls; elsewhere it would be the whole process.
if (process.platform === "linux") setPriority(0, NICE);

port.on("message", (order: FormOrder) => {
  if (order.model !== undefined) models[order.place] = order.model;
  if ("body" in order) read(order);
  else write(order);
});

function read({ form, place, body, jsonBytes }: FormPlace & ReadOrder): void {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const request = FORMS[form]!.read(bytes, models[place]!, jsonBytes);
  if (request instanceof Refusal) return reply({ refusal: request }, []);
  // Hands over the memory that the payload lies in; what is small may lie in node's pool, which stays here, and is copied.
  const { buffer } = request.payload;
  const isPooled = buffer.byteLength < 2 * Buffer.poolSize;
  reply({ request }, isPooled ? [] : [buffer as ArrayBuffer]);
}

function write({ form, place, answer }: FormPlace & WriteOrder): void {
  // No form looks at the tensors of the request when it writes the answer.
  const given = { ...answer, model: models[place]! } as unknown as FormAnswer<FormRequest>;
  const body = written(form, given);
  if (body instanceof Refusal) return reply({ refusal: body }, []);
  reply({ written: body }, [...new Set(body.parts.map(({ buffer }) => buffer as ArrayBuffer))]);
}

/** The answer in memory that can be handed over; `answer_too_large` where no string could hold it. */
function written(form: string, answer: FormAnswer<FormRequest>): WrittenAnswer | Refusal {
  let body: ReturnType<(typeof FORMS)[string]["write"]>;
  try {
    body = FORMS[form]!.write(answer);
  } catch (error) {
    if (isTooLong(error)) return new Refusal("answer_too_large", "the answer is longer than any text can be");
    throw error;
  }
  if (body instanceof Refusal) return body;
  if (typeof body === "string") return { parts: [owned(body)], jsonBytes: ALL_JSON };
  return { parts: body.parts.map(movable), jsonBytes: body.jsonBytes };
}

/** Bytes in memory that can be handed over: tensors are views of what came with the order, but JSON and classes may lie in node's pool. */
function movable(bytes: Uint8Array): Uint8Array {
  return isMarkedAsUntransferable(bytes.buffer) ? Uint8Array.from(bytes) : bytes;
}

/** A text in memory of its own. */
function owned(text: string): Uint8Array {
  const bytes = Buffer.from(new ArrayBuffer(Buffer.byteLength(text)));
  // All ASCII, as nearly always: latin1 is then the same bytes, and written faster.
  bytes.write(text, bytes.byteLength === text.length ? "latin1" : "utf8");
  return bytes;
}

function reply(message: FormReply, transfer: ArrayBuffer[]): void {
  port!.postMessage(message, transfer);
}

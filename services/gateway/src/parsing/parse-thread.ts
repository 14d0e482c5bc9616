import { setPriority } from "node:os";
import { parentPort } from "node:worker_threads";
import type { ModelDescription } from "@millrace/protocol";
import { FORMS } from "../forms/forms.ts";
import type { FormRequest } from "../call/inference-call.ts";
import type { ParseReply, ParseRequest } from "./parse-message.ts";
import { Refusal } from "../http/refusal.ts";

/** Reads large bodies one after the other. Entry point of a worker thread, started by parse-pool.ts. */

const port = parentPort;
if (port === null) throw new Error("parse-thread.ts runs in a worker thread only");

const models: ModelDescription[] = [];

/** How much more than others this thread gives way where processors are short: the event loop, on which everybody waits, goes first. */
const NICE = 10;

// Linux has a niceness for each thread, and 0 is the one that calls; elsewhere it would be the whole process.
if (process.platform === "linux") setPriority(0, NICE);

port.on("message", ({ form, place, model, body, jsonBytes }: ParseRequest) => {
  if (model !== undefined) models[place] = model;
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const request = FORMS[form]!.read(bytes, models[place]!, jsonBytes);
  if (request instanceof Refusal) port.postMessage({ refusal: request } satisfies ParseReply);
  else send(request);
});

/** Hands over the memory that the payload lies in; what is small may lie in node's pool, which stays here, and is copied. */
function send(request: FormRequest): void {
  const { buffer } = request.payload;
  const isPooled = buffer.byteLength < 2 * Buffer.poolSize;
  port!.postMessage({ request } satisfies ParseReply, isPooled ? [] : [buffer as ArrayBuffer]);
}

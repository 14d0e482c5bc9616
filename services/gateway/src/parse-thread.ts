import { parentPort } from "node:worker_threads";
import { FORMS } from "./forms.ts";
import type { FormRequest } from "./inference-call.ts";
import type { ParseReply, ParseRequest } from "./parse-message.ts";
import { Refusal } from "./refusal.ts";

/** Reads large bodies one after the other. Entry point of a worker thread, started by parse-pool.ts. */

const port = parentPort;
if (port === null) throw new Error("parse-thread.ts runs in a worker thread only");

port.on("message", ({ form, model, body, jsonBytes }: ParseRequest) => {
  const request = FORMS[form]!.read(Buffer.from(body.buffer, body.byteOffset, body.byteLength), model, jsonBytes);
  if (request instanceof Refusal) port.postMessage({ refusal: request } satisfies ParseReply);
  else send(request);
});

/** Hands the payload over, where it has memory of its own: what is small may lie in node's pool, and is copied. */
function send(request: FormRequest): void {
  const { buffer, byteLength } = request.payload;
  const isOwn = buffer.byteLength === byteLength && byteLength > Buffer.poolSize;
  port!.postMessage({ request } satisfies ParseReply, isOwn ? [buffer as ArrayBuffer] : []);
}

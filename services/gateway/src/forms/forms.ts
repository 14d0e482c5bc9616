import type { ModelDescription } from "@millrace/protocol";
import { ALL_JSON } from "./binary-body.ts";
import type { Form, FormAnswer, FormRequest } from "../call/inference-call.ts";
import { type OipRequest, parseOipRequest } from "./oip-request.ts";
import { jsonBytesAbout } from "./json-text.ts";
import { oipJsonBytesAbout, oipResponse } from "./oip-response.ts";
import { parseTfsRequest, tfsResponse, type TfsRequest } from "./tfs-form.ts";
import { parsePlainRequest, plainResponseText, type PlainRequest } from "./plain-form.ts";
import { Refusal } from "../http/refusal.ts";
import { RepeatedBodies } from "./repeated-body.ts";

const repeatedBodies = new RepeatedBodies<OipRequest>();

function readOip(body: Buffer, model: ModelDescription, jsonBytes: number): OipRequest | Refusal {
  if (jsonBytes !== ALL_JSON) return parseOipRequest(body, model, jsonBytes);
  const repeated = repeatedBodies.read(body, model);
  if (repeated !== undefined) return repeated;
  const request = parseOipRequest(body, model, jsonBytes);
  if (!(request instanceof Refusal)) repeatedBodies.learn(body, model, request);
  return request;
}

/** The Open Inference Protocol's form. */
export const oipForm: Form<OipRequest> = {
  name: "oip",
  takesBinary: true,
  read: readOip,
  jsonBytesAbout: ({ request, answer }) => oipJsonBytesAbout(answer.outputs, request),
  write: ({ model, request, answer }) => oipResponse(model, answer.outputs, request),
};

function allAsJson({ answer }: Pick<FormAnswer<FormRequest>, "answer">): number {
  return answer.outputs.reduce((sum, output) => sum + jsonBytesAbout(output), 0);
}

/** The plain form of `/predict`. */
export const plainForm: Form<PlainRequest> = {
  name: "plain",
  takesBinary: false,
  read: parsePlainRequest,
  jsonBytesAbout: allAsJson,
  write: ({ model, request, answer, latencyMs, httpRequestId }) =>
    plainResponseText(model, answer.outputs, {
      requestId: request.requestId === "" ? httpRequestId : request.requestId,
      isOneRow: request.isOneRow,
      latencyMs,
      batchRows: answer.batchRows,
    }),
};

/** TensorFlow Serving's form. */
export const tfsForm: Form<TfsRequest> = {
  name: "tfs",
  takesBinary: false,
  read: parseTfsRequest,
  jsonBytesAbout: allAsJson,
  write: ({ model, request, answer }) => tfsResponse(model, answer.outputs, request),
};

/** Every form by its name, as a thread that reads bodies and writes answers looks them up. Of requests it must get those of the form. */
export const FORMS: Readonly<Record<string, Pick<Form<FormRequest>, "read" | "write">>> = {
  oip: oipForm,
  plain: plainForm,
  tfs: tfsForm,
};

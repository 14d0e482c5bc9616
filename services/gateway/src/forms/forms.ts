import type { ModelDescription } from "@millrace/protocol";
import { ALL_JSON } from "./binary-body.ts";
import type { Form, FormRequest } from "../call/inference-call.ts";
import { type OipRequest, parseOipRequest } from "./oip-request.ts";
import { oipResponse } from "./oip-response.ts";
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
  write: ({ model, request, answer }) => oipResponse(model, answer.outputs, request),
};

/** The plain form of `/predict`. */
export const plainForm: Form<PlainRequest> = {
  name: "plain",
  takesBinary: false,
  read: parsePlainRequest,
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
  write: ({ model, request, answer }) => tfsResponse(model, answer.outputs, request),
};

/** Every form by its name, as a thread that reads bodies looks them up. */
export const FORMS: Readonly<Record<string, Pick<Form<FormRequest>, "read">>> = {
  oip: oipForm,
  plain: plainForm,
  tfs: tfsForm,
};

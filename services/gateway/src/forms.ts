import type { Form, FormRequest } from "./inference-call.ts";
import { type OipRequest, parseOipRequest } from "./oip-request.ts";
import { oipResponse } from "./oip-response.ts";
import { parsePlainRequest, plainResponseText, type PlainRequest } from "./plain-form.ts";

/** The Open Inference Protocol's form. */
export const oipForm: Form<OipRequest> = {
  name: "oip",
  takesBinary: true,
  read: parseOipRequest,
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

/** Every form by its name, as a thread that reads bodies looks them up. */
export const FORMS: Readonly<Record<string, Pick<Form<FormRequest>, "read">>> = { oip: oipForm, plain: plainForm };

import type { Form } from "./inference-call.ts";
import { type OipRequest, parseOipRequest } from "./oip-request.ts";
import { oipResponseText } from "./oip-response.ts";
import { parsePlainRequest, plainResponseText, type PlainRequest } from "./plain-form.ts";

/** The JSON form of the Open Inference Protocol. */
export const oipForm: Form<OipRequest> = {
  read: parseOipRequest,
  write: ({ model, request, answer }) => oipResponseText(model, answer.outputs, request),
};

/** The plain form of `/predict`. */
export const plainForm: Form<PlainRequest> = {
  read: parsePlainRequest,
  write: ({ model, request, answer, latencyMs, httpRequestId }) =>
    plainResponseText(model, answer.outputs, {
      requestId: request.requestId === "" ? httpRequestId : request.requestId,
      isOneRow: request.isOneRow,
      latencyMs,
      batchRows: answer.batchRows,
    }),
};

/**
 * Every way a request can fail: one row a code, the only place where a code gets its meaning.
 *
 * - `number` travels in MRP/1 (0 means "no error"); numbers are never reused.
 * - `http` is the gateway's status for it.
 * - `retryable`: the same request may succeed later or elsewhere, unchanged.
 * - `fault`: who has to act: the client, the model's owner, the operator, or us.
 *
 * `docs/errors.md` is bound to this table by a test.
 */
export const ERROR_CODES = {
  invalid_request: {
    number: 1,
    http: 400,
    retryable: false,
    fault: "client",
    meaning: "The request does not have the form that the route asks for.",
  },
  invalid_json: {
    number: 2,
    http: 400,
    retryable: false,
    fault: "client",
    meaning: "The body is not JSON.",
  },
  invalid_input: {
    number: 3,
    http: 400,
    retryable: false,
    fault: "client",
    meaning: "An input is missing, unknown, given twice, or without data.",
  },
  invalid_shape: {
    number: 4,
    http: 400,
    retryable: false,
    fault: "client",
    meaning: "A shape does not fit the model or the data.",
  },
  invalid_datatype: {
    number: 5,
    http: 400,
    retryable: false,
    fault: "client",
    meaning: "A datatype is unknown, is not the model's, or cannot travel in this form.",
  },
  invalid_value: {
    number: 6,
    http: 400,
    retryable: false,
    fault: "client",
    meaning: "A value is outside the range of its datatype.",
  },
  too_many_rows: {
    number: 7,
    http: 400,
    retryable: false,
    fault: "client",
    meaning: "The request has more rows than the model takes at a time.",
  },
  not_found: { number: 8, http: 404, retryable: false, fault: "client", meaning: "No such route." },
  model_not_found: {
    number: 9,
    http: 404,
    retryable: false,
    fault: "client",
    meaning: "No such model, or no such version of it.",
  },
  method_not_allowed: {
    number: 10,
    http: 405,
    retryable: false,
    fault: "client",
    meaning: "The route exists, but not with this method.",
  },
  body_too_large: {
    number: 11,
    http: 413,
    retryable: false,
    fault: "client",
    meaning: "The body is larger than the gateway accepts.",
  },
  unsupported: {
    number: 12,
    http: 501,
    retryable: false,
    fault: "client",
    meaning: "A feature of the protocol that this server does not have.",
  },
  shed: {
    number: 13,
    http: 429,
    retryable: true,
    fault: "operator",
    meaning: "Refused because the budget cannot be met under the present load.",
  },
  queue_full: {
    number: 14,
    http: 429,
    retryable: true,
    fault: "operator",
    meaning: "A bound on waiting or running requests is reached.",
  },
  unavailable: {
    number: 15,
    http: 503,
    retryable: true,
    fault: "operator",
    meaning: "No broker can be reached, or no worker serves the model.",
  },
  model_not_ready: {
    number: 16,
    http: 503,
    retryable: true,
    fault: "operator",
    meaning: "The model is known and not ready: loading, or broken.",
  },
  draining: {
    number: 17,
    http: 503,
    retryable: true,
    fault: "operator",
    meaning: "This process is shutting down.",
  },
  worker_lost: {
    number: 18,
    http: 503,
    retryable: true,
    fault: "operator",
    meaning: "The worker was lost while it ran the request, and the request may not be run again.",
  },
  deadline_exceeded: {
    number: 19,
    http: 504,
    retryable: true,
    fault: "operator",
    meaning: "The time budget passed before an answer was there.",
  },
  cancelled: {
    number: 20,
    http: 499,
    retryable: false,
    fault: "client",
    meaning: "The client went away.",
  },
  poison: {
    number: 21,
    http: 500,
    retryable: false,
    fault: "model",
    meaning: "Two workers were lost while they ran this request, the second time alone.",
  },
  model_error: {
    number: 22,
    http: 500,
    retryable: false,
    fault: "model",
    meaning: "The model failed on this input.",
  },
  output_not_json: {
    number: 23,
    http: 500,
    retryable: false,
    fault: "model",
    meaning: "The model's answer holds a value that JSON cannot carry, such as NaN.",
  },
  internal: {
    number: 24,
    http: 500,
    retryable: false,
    fault: "millrace",
    meaning: "A defect of Millrace.",
  },
  malformed_message: {
    number: 25,
    http: 500,
    retryable: false,
    fault: "millrace",
    meaning: "A peer sent bytes that are not MRP/1.",
  },
  unsupported_version: {
    number: 26,
    http: 500,
    retryable: false,
    fault: "operator",
    meaning: "A peer speaks another major version of MRP.",
  },
  not_registered: {
    number: 27,
    http: 500,
    retryable: true,
    fault: "millrace",
    meaning: "A message came before HELLO, or from a session that has ended.",
  },
  unauthorized: {
    number: 28,
    http: 500,
    retryable: false,
    fault: "operator",
    meaning: "A peer could not prove its identity.",
  },
  hook_failed: {
    number: 29,
    http: 500,
    retryable: false,
    fault: "model",
    meaning: "A hook of the model failed, or gave what cannot be used.",
  },
  lookup_failed: {
    number: 30,
    http: 503,
    retryable: true,
    fault: "operator",
    meaning: "A look-up that a hook needs failed or took too long, and there is nothing to fall back on.",
  },
  too_slow: {
    number: 31,
    http: 408,
    retryable: false,
    fault: "client",
    meaning: "The request came too slowly.",
  },
  answer_too_large: {
    number: 32,
    http: 500,
    retryable: false,
    fault: "model",
    meaning: "The answer is larger than the gateway sends.",
  },
  unauthenticated: {
    number: 33,
    http: 401,
    retryable: false,
    fault: "client",
    meaning: "The request brings no API key that is known, and this gateway asks for one.",
  },
  forbidden: {
    number: 34,
    http: 403,
    retryable: false,
    fault: "client",
    meaning: "The API key may not speak for the tenant that the request names.",
  },
} as const satisfies Record<string, ErrorRow>;

type ErrorRow = {
  number: number;
  http: number;
  retryable: boolean;
  fault: "client" | "model" | "operator" | "millrace";
  meaning: string;
};

export type ErrorCode = keyof typeof ERROR_CODES;

const byNumber: readonly (ErrorCode | undefined)[] = (() => {
  const table: (ErrorCode | undefined)[] = [];
  for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) table[ERROR_CODES[code].number] = code;
  return table;
})();

/** The code of a wire number; `internal` for a number that this version does not know (a newer peer's). */
export function errorCodeOf(number: number): ErrorCode {
  return byNumber[number] ?? "internal";
}

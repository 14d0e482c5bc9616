import { ERROR_CODES, type ErrorCode } from "./error-code.ts";

/**
 * How a request ended. `shed`: refused with 429, by its budget or a bound. `expired`: its budget passed (504). `cancelled`: the
 * client went away (499). `error`: everything else that is not `ok`.
 */
export const OUTCOMES = ["ok", "shed", "expired", "error", "cancelled"] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** The outcome of a request that ended with an error. */
export function outcomeOf(code: ErrorCode): Outcome {
  return BY_STATUS.get(ERROR_CODES[code].http) ?? "error";
}

const BY_STATUS: ReadonlyMap<number, Outcome> = new Map([
  [429, "shed"],
  [499, "cancelled"],
  [504, "expired"],
]);

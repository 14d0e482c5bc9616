import type { ErrorCode } from "@millrace/protocol";

/**
 * Why a request is not served: what pure functions return in place of their result (`result instanceof Refusal`).
 * Not an Error: a client's mistake is an ordinary outcome here, and costs no stack trace.
 */
export class Refusal {
  readonly code: ErrorCode;
  /** For people; names what was expected and what was given. */
  readonly message: string;
  /** When a retry makes sense, in milliseconds; 0 = unknown. */
  readonly retryAfterMs: number;

  constructor(code: ErrorCode, message: string, retryAfterMs = 0) {
    this.code = code;
    this.message = message;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Characters of a client's text that an error message repeats. */
const SHOWN_CHARS = 80;

/** A client's text as an error message shows it: quoted, escaped, cut. */
export function quote(text: string): string {
  return JSON.stringify(text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text);
}

/** A client's JSON value as an error message shows it; containers by their kind only, since they may be deep or huge. */
export function describe(value: unknown): string {
  if (typeof value === "string") return quote(value);
  if (Array.isArray(value)) return "an array";
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") return String(value);
  if (value === null) return "null";
  return value === undefined ? "nothing" : "an object";
}

/** Dimensions of a shape that an error message shows. */
const SHOWN_DIMENSIONS = 32;

/** A shape as an error message shows it, such as "[2,3]". */
export function shapeText(shape: readonly number[]): string {
  const more = shape.length > SHOWN_DIMENSIONS ? ",…" : "";
  return `[${shape.slice(0, SHOWN_DIMENSIONS).join(",")}${more}]`;
}

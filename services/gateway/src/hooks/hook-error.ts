import type { ErrorCode } from "@millrace/protocol";
import type { HookName } from "./hook-module.ts";

/** Thrown in place of what a hook gave, where that cannot be used. The message is for the hook's author. */
export class UnusableResult extends Error {
  override readonly name = "UnusableResult";
}

/** What a client is told of a hook that failed. */
export type HookFailure = { readonly code: ErrorCode; readonly message: string; readonly retryAfterMs: number };

/** When a look-up that failed may be tried again, in milliseconds: nobody knows. */
const LOOKUP_RETRY_AFTER_MS = 1_000;

/** Characters of a hook's message that a client gets. */
const MESSAGE_CHARACTERS = 500;

/**
 * The answer for what a hook threw. Told by name: errors that come from a thread have lost their class. Pure. Never throws, whatever it
 * is given.
 */
export function hookFailureOf(error: unknown, hook: HookName, model: string): HookFailure {
  const { name, message } = readError(error);
  if (name === "InvalidRequest") {
    return { code: "invalid_input", message: message.slice(0, MESSAGE_CHARACTERS), retryAfterMs: 0 };
  }
  const subject = `hook ${hook} of model ${JSON.stringify(model)}`;
  if (name === "LookupFailed") {
    return { code: "lookup_failed", message: `a look-up of ${subject} failed`, retryAfterMs: LOOKUP_RETRY_AFTER_MS };
  }
  return { code: "hook_failed", message: `${subject} failed`, retryAfterMs: 0 };
}

/** What a hook threw may throw in its turn when it is looked at, and its message be no text. */
function readError(error: unknown): { readonly name: string; readonly message: string } {
  try {
    if (error instanceof Error) {
      const { name, message }: { name: unknown; message: unknown } = error;
      if (typeof name === "string" && typeof message === "string") return { name, message };
    }
  } catch {
    // Then it is told as any other.
  }
  return { name: "", message: "" };
}

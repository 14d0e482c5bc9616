import { PRIORITIES, type Priority, PRIORITY_NAMES } from "@millrace/protocol";
import { describe, Refusal } from "../http/refusal.ts";

/** The largest number that asks for a class. */
export const PRIORITY_MAX = PRIORITY_NAMES.length;

/**
 * The number of the class by urgency of RFC 9218, 0 to 7, where 3 is the default. Browsers send 0 to 4 by themselves, with 1 for
 * every `fetch()`: 1 to 4 therefore ask for nothing.
 */
const BY_URGENCY = [PRIORITIES.realtime, 0, 0, 0, 0, PRIORITIES.batch, PRIORITIES.batch, PRIORITIES.batch] as const;

/** A member of the header that says nothing to us. One without a value has to be `i`: else it is a class that is misspelt. */
const OTHER_MEMBER = /^(i|[a-z*][\w.*-]*=[\x20-\x7e]*)$/;

/**
 * The header `priority`: the name of a class, or the parameters of RFC 9218 §4, of which only `u` counts. 0 where it asks for none.
 * What is neither is `invalid_request`.
 */
export function readPriorityHeader(text: string | undefined): number | Refusal {
  if (text === undefined) return 0;
  if (Object.hasOwn(PRIORITIES, text)) return PRIORITIES[text as Priority];
  let priority: number | undefined = 0;
  for (const part of text.split(",")) {
    const member = part.trim();
    if (member.startsWith("u=")) priority = /^u=[0-7]$/.test(member) ? BY_URGENCY[Number(member[2])] : undefined;
    else if (!OTHER_MEMBER.test(member)) priority = undefined;
    if (priority === undefined) break;
  }
  if (priority !== undefined) return priority;
  const choices = PRIORITY_NAMES.join(", ");
  return new Refusal(
    "invalid_request",
    `priority must be one of ${choices}, or u=0 to u=7 as in RFC 9218; it is ${describe(text)}`,
  );
}

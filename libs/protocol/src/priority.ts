/** The classes of requests, the most urgent first, by the number of `priority` of SUBMIT that asks for them. */
export const PRIORITIES = { realtime: 1, interactive: 2, batch: 3 } as const;

export type Priority = keyof typeof PRIORITIES;

/** The names of the classes, the most urgent first. */
export const PRIORITY_NAMES = Object.keys(PRIORITIES) as readonly Priority[];

/** The class of a request that asks for none. */
const DEFAULT: Priority = "interactive";

/** The class of a `priority`, counted from 0, the most urgent: 0 asks for none, and what is beyond the last is of the last. */
export function classOf(priority: number): number {
  return Math.min(priority === 0 ? PRIORITIES[DEFAULT] : priority, PRIORITY_NAMES.length) - 1;
}

import { randomBytes } from "node:crypto";

/** Visible ASCII without quotes, spaces and separators: safe in headers, logs and shell commands. */
const PATTERN = /^[\w.:/+=@-]{1,128}$/;

/** Tells the ids of gateways and of their restarts apart; the counter does the rest, far cheaper than a UUID a request. */
const prefix = `${randomBytes(6).toString("hex")}-`;
let made = 0;

/** The request's own id where it is sane, else a new one that no other gateway makes. */
export function requestIdOf(header: string | undefined): string {
  return header !== undefined && PATTERN.test(header) ? header : prefix + (made++).toString(36);
}

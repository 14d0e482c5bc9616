/** Whether the tests run at their full length (`make load`, `make chaos`), or at the share that each commit affords. */
export const IS_FULL = process.env["TEST_SHARE"] === "full";

/** The number for the present share. */
export function byShare(commit: number, full: number): number {
  return IS_FULL ? full : commit;
}

/** Whether a text would have been longer than any string of V8 can be. Other errors of range are defects. */
export function isTooLong(error: unknown): boolean {
  return error instanceof RangeError && error.message === "Invalid string length";
}

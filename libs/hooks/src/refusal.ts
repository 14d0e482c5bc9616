/**
 * Thrown by `preprocess`: the client's request cannot be served as it is. It gets 400, code `invalid_input`, and the message.
 * Anything else that a hook throws is 500 `hook_failed`, and its message goes to the log alone.
 */
export class InvalidRequest extends Error {
  override readonly name = "InvalidRequest";
}

/**
 * Thrown by look-ups: what a hook needs could not be had, now. The client gets 503, code `lookup_failed`, and may try again; the
 * message goes to the log alone.
 */
export class LookupFailed extends Error {
  override readonly name = "LookupFailed";
}

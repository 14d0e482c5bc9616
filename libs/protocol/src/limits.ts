/** Bounds of MRP/1. A message outside them is malformed; both sides check, and the sender splits. */
export const LIMITS = {
  /** Items in one SUBMIT, JOB, RESULT, REJECT or CANCEL. */
  items: 256,
  /** Payload frames behind one header: one an item at most, and shared ones. */
  frames: 256,
  /**
   * Bytes of the header frame: preamble and descriptors. Enough for any message of 256 items that are within the limits
   * below, so that a batch can always be sent, whichever requests meet in it; a list of models must be kept within it.
   */
  headerBytes: 8 * 1024 * 1024,
  /** Bytes of one item's payload: the largest body that a gateway may accept. */
  payloadBytes: 64 * 1024 * 1024,
  /** Payloads below this many bytes share frames; larger ones travel alone and are forwarded by reference. */
  packBelowBytes: 16 * 1024,
  /** A shared frame is closed at this many bytes, so that one waiting item pins little. */
  sharedFrameBytes: 256 * 1024,
  /** Bytes of an item's `tensors`: the descriptors of its tensors, which the broker forwards unread. */
  tensorsBytes: 16 * 1024,
  /** Bytes of an item's trace context. */
  traceBytes: 1024,
  /** UTF-8 bytes of a name: of a model, version, tensor, worker, pool, tenant or bucket. */
  nameBytes: 256,
  /** UTF-8 bytes of a human-readable text: a reason, an error. */
  textBytes: 1024,
  /** Elements of any other list: dimensions, buckets, curve points, models, inputs. */
  list: 1024,
} as const;

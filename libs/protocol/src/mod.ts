/** MRP/1, the wire between gateways, broker and workers, and the error table. Sans-I/O: bytes in, messages out. */
export {
  AXES_MAX,
  AXIS_SIZES_MAX,
  type AxisPlace,
  type BucketAxis,
  bucketText,
  paddedSize,
  rowsOfRun,
} from "./bucket.ts";
export { DATATYPES, isDatatype, type Datatype } from "./datatype.ts";
export { ERROR_CODES, errorCodeOf, type ErrorCode } from "./error-code.ts";
export { LIMITS } from "./limits.ts";
export { compareVersions, type ModelDescription, type TensorHeader } from "./model.ts";
export {
  bytesElementsEnd,
  decodeStrings,
  elementCount,
  encodeStrings,
  FREE,
  isWellSized,
  type Tensor,
  type TensorSpec,
} from "./tensor.ts";
export {
  ClientSession,
  type ClientSessionAction,
  type ClientSessionEvent,
  type ClientSessionState,
  type Load,
  PING_EVERY_MS,
} from "./client-session.ts";
export { decodeMessage, decodeTensorList, encodeMessage, encodeTensorList, type Stamp } from "./codec.ts";
export { COMMANDS, type Command } from "./command.ts";
export {
  type AnnouncedPoint,
  type Content,
  JOB_FLAGS,
  type JobItem,
  type Message,
  type MessageOf,
  type RejectItem,
  REQUEST_FLAGS,
  type ResultItem,
  type SubmitItem,
  type WorkerModel,
} from "./message.ts";
export { type Outcome, outcomeOf, OUTCOMES } from "./outcome.ts";
export { classOf, PRIORITIES, type Priority, PRIORITY_NAMES } from "./priority.ts";
export { RequestTable } from "./request-table.ts";
export { type ModelTotals, TotalsBook, type TotalsEntry } from "./totals.ts";
export { encodeTrace, requestIdOf, requestIdsOf } from "./trace.ts";

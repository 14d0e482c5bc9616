/**
 * What tests of anything that speaks MRP/1 need: golden messages, messages that are wrong or unusual, arbitraries for
 * fast-check, and the wire as tables. Not for services: nothing in `src` outside of tests imports it.
 */
export {
  arbitraryContent,
  arbitraryMessage,
  arbitraryMessageOf,
  arbitraryOfField,
  arbitraryPayload,
  type ArbitrarySizes,
  arbitraryStamp,
  arbitraryTensorList,
} from "./testing/arbitrary-message.ts";
export { GOLDEN_MESSAGES, GOLDEN_TENSOR_LISTS, type GoldenMessage } from "./testing/golden-message.ts";
export { protocolTables, type FieldRow } from "./testing/protocol-table.ts";
export {
  MALFORMED_MESSAGES,
  type MalformedMessage,
  TOLERATED_MESSAGES,
  type ToleratedMessage,
} from "./testing/unusual-message.ts";
export { bytesToJson, createVectors, type JsonBytes, type JsonVectors, jsonToBytes } from "./testing/vector.ts";

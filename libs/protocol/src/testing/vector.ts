import { encodeMessage, encodeTensorList } from "../codec.ts";
import { PREAMBLE_BYTES, readPreamble } from "../preamble.ts";
import { GOLDEN_MESSAGES, GOLDEN_TENSOR_LISTS } from "./golden-message.ts";
import { MALFORMED_MESSAGES, TOLERATED_MESSAGES } from "./unusual-message.ts";

/** Octets as JSON: hex, or one octet (in hex) and how often it comes. */
export type JsonBytes = { readonly hex: string } | { readonly repeat: string; readonly times: number };

/** A message's content as JSON: as it is, with octets as JsonBytes. */
export type JsonContent = Readonly<Record<string, unknown>>;

export type JsonVectors = {
  readonly about: string;
  readonly messages: readonly {
    readonly name: string;
    readonly preamble: {
      readonly command: number;
      readonly mustUnderstand: boolean;
      readonly count: number;
      readonly epoch: string;
      readonly seq: number;
    };
    readonly message: JsonContent;
    readonly frames: readonly JsonBytes[];
  }[];
  readonly tensorLists: readonly { readonly name: string; readonly content: JsonContent; readonly bytes: JsonBytes }[];
  readonly tolerated: readonly {
    readonly name: string;
    readonly message: JsonContent;
    readonly frames: readonly JsonBytes[];
  }[];
  readonly malformed: readonly {
    readonly name: string;
    readonly answer: string | null;
    readonly frames: readonly JsonBytes[];
  }[];
};

const ABOUT =
  "Test vectors of MRP/1: see docs/protocol.md. `messages` and `tensorLists` hold in both directions; `tolerated` frames " +
  "must be read as given; `malformed` frames must be refused, with an ERROR of the code `answer`, or silently where it is null. " +
  "Octets are {hex}, or {repeat, times}. Made from the definitions in libs/protocol/src/testing by vectors/write.ts.";

/** A run of one octet of at least this many is written as a repetition. */
const REPEAT_FROM_BYTES = 64;

export function bytesToJson(bytes: Uint8Array): JsonBytes {
  const first = bytes[0];
  if (first !== undefined && bytes.byteLength >= REPEAT_FROM_BYTES && bytes.every((octet) => octet === first)) {
    return { repeat: first.toString(16).padStart(2, "0"), times: bytes.byteLength };
  }
  return { hex: Buffer.from(bytes).toString("hex") };
}

export function jsonToBytes(json: JsonBytes): Buffer {
  return "hex" in json ? Buffer.from(json.hex, "hex") : Buffer.alloc(json.times, Buffer.from(json.repeat, "hex"));
}

/** A decoded value as JSON. */
export function contentToJson(value: unknown): unknown {
  if (value instanceof Uint8Array) return bytesToJson(value);
  if (Array.isArray(value)) return value.map(contentToJson);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, contentToJson(member)]));
}

/** JSON as the value that a decoder gives. */
export function jsonToContent(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(jsonToContent);
  if (typeof json !== "object" || json === null) return json;
  if ("hex" in json || "repeat" in json) return jsonToBytes(json as JsonBytes);
  return Object.fromEntries(Object.entries(json).map(([key, member]) => [key, jsonToContent(member)]));
}

/** All vectors, as vectors/mrp1.json holds them. */
export function createVectors(): JsonVectors {
  return {
    about: ABOUT,
    messages: GOLDEN_MESSAGES.map(({ name, stamp, message }) => {
      const frames = encodeMessage(message, stamp).map((frame) => Buffer.from(frame));
      const preamble = readPreamble(frames[0]!.subarray(0, PREAMBLE_BYTES));
      if ("fault" in preamble) throw new Error(`${name}: ${preamble.fault}`);
      return { name, preamble, message: contentToJson(message) as JsonContent, frames: frames.map(bytesToJson) };
    }),
    tensorLists: Object.entries(GOLDEN_TENSOR_LISTS).map(([name, content]) => ({
      name,
      content: contentToJson(content) as JsonContent,
      bytes: bytesToJson(encodeTensorList(content)),
    })),
    tolerated: TOLERATED_MESSAGES.map(({ name, message, frames }) => ({
      name,
      message: contentToJson(message) as JsonContent,
      frames: frames.map(bytesToJson),
    })),
    malformed: MALFORMED_MESSAGES.map(({ name, answer, frames }) => ({
      name,
      answer: answer ?? null,
      frames: frames.map(bytesToJson),
    })),
  };
}

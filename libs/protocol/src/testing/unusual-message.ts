import { COMMANDS, type Command } from "../command.ts";
import type { ErrorCode } from "../error-code.ts";
import type { Message } from "../message.ts";

/** Frames that a receiver must refuse; `answer` is the code of the ERROR that it sends, undefined where it keeps silent. */
export type MalformedMessage = {
  readonly name: string;
  readonly frames: readonly Buffer[];
  readonly answer: ErrorCode | undefined;
};

/** Frames that no sender of this version makes and that every receiver must read, and what they say. */
export type ToleratedMessage = { readonly name: string; readonly frames: readonly Buffer[]; readonly message: Message };

/** A header from parts, written by hand in hex so that it does not depend on the codec. */
type HeaderParts = {
  readonly signature?: string;
  readonly major?: string;
  readonly command: Command | number;
  readonly flags?: string;
  readonly count?: number;
  readonly seq?: string;
  readonly descriptors: string;
};

const ANY_EPOCH = "6761746577617931";

function header(parts: HeaderParts): Buffer {
  const { signature = "e51b", major = "01", flags = "0100", seq = "0000000000000007", count = 0, descriptors } = parts;
  const command = typeof parts.command === "number" ? parts.command : COMMANDS[parts.command].number;
  const octets = [signature, major, hex(command, 1), flags, hex(count, 2), ANY_EPOCH, seq, descriptors].join("");
  return bytes(octets);
}

function hex(value: number, octets: number): string {
  return value.toString(16).padStart(octets * 2, "0");
}

function bytes(spacedHex: string): Buffer {
  return Buffer.from(spacedHex.replaceAll(" ", ""), "hex");
}

const DRAINED = "91 05";
const PARTIAL_ITEM = "96 00 00 03 01 93 00 00 03 c4 00";

function model(datatype: string): string {
  return `9c a1 6d a1 31 01 a0 a0 a0 01 01 00 00 91 93 a1 78 ${datatype} 91 ff 90`;
}

function routes(datatype: string): string {
  return `92 01 91 94 00 01 01 ${model(datatype)}`;
}

function partial(item: string, frames: readonly string[], count = 1): Buffer[] {
  const items = Array.from({ length: count }, () => item).join("");
  const descriptors = `92 05 ${hex(0x90 + count, 1)} ${items}`;
  return [header({ command: "PARTIAL", count, descriptors }), ...frames.map(bytes)];
}

/** Header frames that are wrong in themselves. */
const malformedHeaders: Readonly<Record<string, { parts: HeaderParts; answer: ErrorCode | undefined }>> = {
  "first octet of the signature wrong": {
    parts: { signature: "e41b", command: "DRAINED", descriptors: DRAINED },
    answer: undefined,
  },
  "second octet of the signature wrong": {
    parts: { signature: "e51c", command: "DRAINED", descriptors: DRAINED },
    answer: undefined,
  },
  "sequence number of 2^53": {
    parts: { seq: "0020000000000000", command: "DRAINED", descriptors: DRAINED },
    answer: undefined,
  },
  "major version 2": {
    parts: { major: "02", command: "DRAINED", descriptors: DRAINED },
    answer: "unsupported_version",
  },
  "major version 0": {
    parts: { major: "00", command: "DRAINED", descriptors: DRAINED },
    answer: "unsupported_version",
  },
  "unknown command, must-understand": { parts: { command: 0x7f, descriptors: "90" }, answer: "unsupported" },
  "unknown command, may be ignored": { parts: { command: 0x7f, flags: "0000", descriptors: "90" }, answer: undefined },
};

/** Descriptors that are not what their command asks for; each is answered with malformed_message. */
const malformedDescriptors: Readonly<Record<string, Omit<HeaderParts, "flags">>> = {
  "no descriptors": { command: "DRAINED", descriptors: "" },
  "descriptors that end early": { command: "GOODBYE", descriptors: "92 a1" },
  "bytes behind the descriptors": { command: "DRAINED", descriptors: `${DRAINED} 00` },
  "an integer where the fields should be": { command: "DRAINED", descriptors: "05" },
  "a map where the fields should be": { command: "DRAINED", descriptors: "81 05 05" },
  "a field too few": { command: "GOODBYE", descriptors: "91 a1 78" },
  "17 fields too many": { command: "DRAINED", descriptors: `dc 0012 05 ${"00".repeat(17)}` },
  "fields in an array32 of 2^32 - 1": { command: "DRAINED", descriptors: "dd ffffffff 05" },
  "nil for an integer": { command: "DRAINED", descriptors: "91 c0" },
  "true for an integer": { command: "DRAINED", descriptors: "91 c3" },
  "a float32 for an integer": { command: "DRAINED", descriptors: "91 ca 40a00000" },
  "a float64 for an integer": { command: "DRAINED", descriptors: "91 cb 4014000000000000" },
  "a string for an integer": { command: "DRAINED", descriptors: "91 a1 35" },
  "an array for an integer": { command: "DRAINED", descriptors: "91 91 05" },
  "an extension type for an integer": { command: "DRAINED", descriptors: "91 d4 01 05" },
  "the reserved octet c1 for an integer": { command: "DRAINED", descriptors: "91 c1" },
  "minus one for an unsigned integer": { command: "DRAINED", descriptors: "91 ff" },
  "int64 minus one for an unsigned integer": { command: "DRAINED", descriptors: "91 d3 ffffffffffffffff" },
  "an integer of 2^53": { command: "DRAINED", descriptors: "91 cf 0020000000000000" },
  "an integer that ends early": { command: "DRAINED", descriptors: "91 cf 00000000" },
  "binary for a string": { command: "GOODBYE", descriptors: "92 c4 01 78 00" },
  "a string for binary": { command: "CHALLENGE", descriptors: "91 a1 78" },
  "a string that is not UTF-8": { command: "GOODBYE", descriptors: "92 a2 c328 00" },
  "a string with half of a surrogate pair": { command: "GOODBYE", descriptors: "92 a3 eda080 00" },
  "a long string that is not UTF-8": { command: "GOODBYE", descriptors: `92 d9 28 ${"61".repeat(39)} ff 00` },
  "a string longer than the message": { command: "GOODBYE", descriptors: "92 da 0100 78 00" },
  "a str32 of 2^32 - 1 octets": { command: "GOODBYE", descriptors: "92 db ffffffff 78 00" },
  "a bin32 of 2^32 - 1 octets": { command: "CHALLENGE", descriptors: "91 c6 ffffffff 78" },
  "binary of one octet too many": { command: "CHALLENGE", descriptors: `91 c4 41 ${"00".repeat(65)}` },
  "a name of 257 octets": { command: "WELCOME", descriptors: `96 da 0101 ${"78".repeat(257)} 00 00 00 00 90` },
  "a list in an array32 of 2^32 - 1": { command: "WELCOME", descriptors: "96 a0 00 00 00 00 dd ffffffff" },
  "a list longer than the message": { command: "WELCOME", descriptors: "96 a0 00 00 00 00 dc 0100 a0" },
  "a list of 1025 elements": { command: "CREDIT", descriptors: `93 00 dc 0401 ${"00".repeat(1025)} 00` },
  "a flag of 2": { command: "NACK", descriptors: "95 01 11 02 00 a0" },
  "a role that does not exist": { command: "HELLO", descriptors: "98 02 a0 a0 00 00 00 90 c4 00" },
  "datatype 0": { command: "ROUTES", descriptors: routes("00") },
  "datatype 15": { command: "ROUTES", descriptors: routes("0f") },
  "a shape of 33 dimensions": {
    command: "ROUTES",
    descriptors: routes("0c").replace("91 ff", `dc 0021 ${"01".repeat(33)}`),
  },
  "a dimension of minus two": { command: "ROUTES", descriptors: routes("0c").replace("91 ff", "91 fe") },
  "an extra field that is a map": { command: "DRAINED", descriptors: "92 05 80" },
  "an extra field that is an extension type": { command: "DRAINED", descriptors: "92 05 d4 01 05" },
  "an extra field that is cut short": { command: "DRAINED", descriptors: "92 05 a5 78" },
  "an extra field with an array32 of 2^32 - 1": { command: "DRAINED", descriptors: "92 05 dd ffffffff" },
  "an extra field with arrays that hold more than is there": {
    command: "DRAINED",
    descriptors: `92 05 ${"91".repeat(40)}`,
  },
  "a count of 2 for one item": { command: "CANCEL", count: 2, descriptors: "91 91 92 00 01" },
  "a count of 0 for one item": { command: "CANCEL", count: 0, descriptors: "91 91 92 00 01" },
  "a count in a command without items": { command: "DRAINED", count: 1, descriptors: DRAINED },
  "257 items": { command: "CANCEL", count: 257, descriptors: `91 dc 0101 ${"920001".repeat(257)}` },
};

const malformedPayloads: Readonly<Record<string, Buffer[]>> = {
  "a payload frame that is missing": partial(PARTIAL_ITEM, []),
  "a payload frame that is one octet short": partial(PARTIAL_ITEM, ["6162"]),
  "a payload in a frame that is not there": partial("96 00 00 03 01 93 01 00 03 c4 00", ["616263"]),
  "a payload offset behind the frame": partial("96 00 00 03 01 93 00 03 01 c4 00", ["616263"]),
  "a payload offset of 2^53 - 1": partial("96 00 00 03 01 93 00 cf 001fffffffffffff 01 c4 00", ["616263"]),
  "a payload length of 2^53 - 1": partial("96 00 00 03 01 93 00 00 cf 001fffffffffffff c4 00", ["616263"]),
  "a payload reference without length": partial("96 00 00 03 01 92 00 00 c4 00", ["616263"]),
  "a payload reference of four": partial("96 00 00 03 01 94 00 00 03 c4 00", ["616263"]),
  "two payloads over the same bytes": partial(PARTIAL_ITEM, ["616263"], 2),
};

export const MALFORMED_MESSAGES: readonly MalformedMessage[] = [
  { name: "an empty header", frames: [Buffer.alloc(0)], answer: undefined },
  {
    name: "a header of 23 octets",
    frames: [header({ command: "DRAINED", descriptors: "" }).subarray(0, 23)],
    answer: undefined,
  },
  ...Object.entries(malformedHeaders).map(([name, { parts, answer }]) => ({ name, frames: [header(parts)], answer })),
  ...Object.entries(malformedDescriptors).map(([name, parts]): MalformedMessage => ({
    name,
    frames: [header(parts)],
    answer: "malformed_message",
  })),
  ...Object.entries(malformedPayloads).map(([name, frames]): MalformedMessage => ({
    name,
    frames,
    answer: "malformed_message",
  })),
];

const drained: Message = { command: "DRAINED", seq: 5 };
const goodbye: Message = { command: "GOODBYE", reason: "x", graceMs: 0 };

function partialOf(payload: string): Message {
  const item = {
    request: 0,
    attempt: 0,
    chunk: 3,
    last: true,
    payload: Buffer.from(payload),
    tensors: Buffer.alloc(0),
  };
  return { command: "PARTIAL", batch: 5, items: [item] };
}

export const TOLERATED_MESSAGES: readonly ToleratedMessage[] = [
  ...[
    "cc 05",
    "cd 0005",
    "ce 00000005",
    "cf 0000000000000005",
    "d0 05",
    "d1 0005",
    "d2 00000005",
    "d3 0000000000000005",
  ].map((five) => ({
    name: `an integer in the form ${five.slice(0, 2)}`,
    frames: [header({ command: "DRAINED", descriptors: `91 ${five}` })],
    message: drained,
  })),
  ...["d9 01", "da 0001", "db 00000001"].map((head) => ({
    name: `a string in the form ${head.slice(0, 2)}`,
    frames: [header({ command: "GOODBYE", descriptors: `92 ${head} 78 00` })],
    message: goodbye,
  })),
  ...["c5 0001", "c6 00000001"].map((head): ToleratedMessage => ({
    name: `binary in the form ${head.slice(0, 2)}`,
    frames: [header({ command: "CHALLENGE", descriptors: `91 ${head} 78` })],
    message: { command: "CHALLENGE", nonce: Buffer.from("x") },
  })),
  ...["dc 0002", "dd 00000002"].map((head) => ({
    name: `an array in the form ${head.slice(0, 2)}`,
    frames: [header({ command: "GOODBYE", descriptors: `${head} a1 78 00` })],
    message: goodbye,
  })),
  ...[
    "c0",
    "c2",
    "c3",
    "ca 3fc00000",
    "cb 3ff8000000000000",
    "fe",
    "d3 ffffffffffffffff",
    "a3 616263",
    "c4 02 0102",
  ].map((extra) => ({
    name: `an extra field ${extra}`,
    frames: [header({ command: "GOODBYE", descriptors: `93 a1 78 00 ${extra}` })],
    message: goodbye,
  })),
  {
    name: "an extra field with arrays in arrays",
    frames: [header({ command: "GOODBYE", descriptors: "93 a1 78 00 93 92 01 91 a1 79 90 dc 0001 c0" })],
    message: goodbye,
  },
  {
    name: "16 extra fields",
    frames: [header({ command: "GOODBYE", descriptors: `dc 0012 a1 78 00 ${"00".repeat(16)}` })],
    message: goodbye,
  },
  {
    name: "an extra field in an item",
    frames: partial("97 00 00 03 01 93 00 00 03 c4 00 a1 7a", ["616263"]),
    message: partialOf("abc"),
  },
  {
    name: "unknown flags and a reserved octet that is not zero",
    frames: [header({ command: "DRAINED", flags: "ffff", descriptors: DRAINED })],
    message: drained,
  },
  {
    name: "an empty payload that names a frame",
    frames: partial("96 00 00 03 01 93 09 07 00 c4 00", []),
    message: partialOf(""),
  },
  {
    name: "a payload at an odd offset, in a frame with bytes that are nobody's, before a frame that is nobody's",
    frames: partial("96 00 00 03 01 93 00 01 03 c4 00", ["00616263ff", "ffff"]),
    message: partialOf("abc"),
  },
];

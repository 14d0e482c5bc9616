import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { Packr, Unpackr } from "msgpackr";
import { expect, test } from "vitest";
import { decodeMessage, decodeTensorList, encodeMessage, encodeTensorList } from "./codec.ts";
import { COMMANDS, type Command } from "./command.ts";
import { DATATYPES, type Datatype } from "./datatype.ts";
import type { Field, ListField, StructField } from "./fields.ts";
import { LIMITS } from "./limits.ts";
import { type Message, MESSAGES } from "./message.ts";
import { PayloadPacker } from "./payload.ts";
import { PREAMBLE_BYTES } from "./preamble.ts";
import {
  arbitraryMessage,
  arbitraryMessageOf,
  arbitraryStamp,
  arbitraryTensorList,
  GOLDEN_MESSAGES,
} from "./testing.ts";

// The same values in every run: a failure can be had again.
fc.configureGlobal({ seed: 1 });

const commands = Object.keys(COMMANDS) as Command[];
const stamp = { epoch: "0123456789abcdef", seq: 1 };

function framesOf(message: Message, at = stamp): Buffer[] {
  return encodeMessage(message, at).map((frame) => Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength));
}

/** Fails unless the message comes back from its frames as it was. */
function expectRoundTrip(message: Message, at = stamp): void {
  const decoded = decodeMessage(framesOf(message, at));
  if (!decoded.ok) throw new Error(decoded.fault);
  expect(isDeepStrictEqual(decoded.message, message)).toBe(true);
  expect(decoded.preamble).toEqual({
    ...at,
    command: COMMANDS[message.command].number,
    mustUnderstand: true,
    count: "items" in message && typeof message.items === "object" ? message.items.length : 0,
  });
}

/** The value as the nested arrays that msgpack holds. */
function nested(field: Field<unknown>, value: unknown, packer: PayloadPacker): unknown {
  if ("fields" in field) {
    const columns = Object.entries((field as StructField<unknown>).fields);
    return columns.map(([key, column]) => nested(column, (value as Record<string, unknown>)[key], packer));
  }
  if ("element" in field) {
    return (value as unknown[]).map((one) => nested((field as ListField<unknown>).element, one, packer));
  }
  if (field.wire === "payload") {
    const { frame, offset, length } = packer.add(value as Buffer);
    return [frame, offset, length];
  }
  if (field.wire === "datatype") return DATATYPES[value as Datatype].code;
  if (field.wire === "flag") return Number(value);
  const words = [...field.wire.matchAll(/\d+ (\w+)/g)].map(([, word]) => word);
  return words.length > 0 ? words.indexOf(value as string) : value;
}

/** The value with every number cut to 32 bits: larger ones msgpackr writes as floats. */
function within32Bits(value: unknown): unknown {
  if (typeof value === "number") return value < 0 ? value : value % 2 ** 32;
  if (Array.isArray(value)) return value.map(within32Bits);
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, within32Bits(member)]));
}

for (const command of commands) {
  test(`${command}: whatever it says comes back from its frames`, () => {
    fc.assert(
      fc.property(arbitraryMessageOf(command), arbitraryStamp, (message, at) => expectRoundTrip(message, at)),
      { numRuns: 100 },
    );
  });
}

for (const command of ["SUBMIT", "JOB", "RESULT"] as const) {
  test(`${command}: up to 256 items with payloads of all sizes come back`, () => {
    fc.assert(
      fc.property(arbitraryMessageOf(command, { listMax: LIMITS.items }), (message) => expectRoundTrip(message)),
      { numRuns: 10 },
    );
  });
}

test("exactly 256 items with payloads of their own fill the frames and come back", () => {
  const items = Array.from({ length: LIMITS.items }, (_, request) => ({
    request,
    attempt: 0,
    chunk: 0,
    last: false,
    payload: Buffer.alloc(LIMITS.packBelowBytes, request),
    tensors: Buffer.alloc(0),
  }));
  const message: Message = { command: "PARTIAL", batch: 1, items };
  expect(framesOf(message).length).toBe(1 + LIMITS.frames);
  expectRoundTrip(message);
});

test("msgpackr writes the same bytes for the same nested arrays", () => {
  const packr = new Packr({ useRecords: false });
  fc.assert(
    fc.property(arbitraryMessage, (message) => {
      const small = within32Bits(message) as Message;
      const header = framesOf(small)[0]!;
      const packed = packr.pack(nested(MESSAGES[small.command], small, new PayloadPacker()));
      expect(header.subarray(PREAMBLE_BYTES).equals(packed)).toBe(true);
    }),
    { numRuns: 500 },
  );
});

test("msgpackr reads the same nested arrays from our bytes", () => {
  const unpackr = new Unpackr({ useRecords: false, int64AsType: "number" });
  fc.assert(
    fc.property(arbitraryMessage, (message) => {
      const header = framesOf(message)[0]!;
      const expected = nested(MESSAGES[message.command], message, new PayloadPacker());
      expect(isDeepStrictEqual(unpackr.unpack(header.subarray(PREAMBLE_BYTES)), expected)).toBe(true);
    }),
    { numRuns: 500 },
  );
});

test("payloads are views into the frames they came in: nothing is copied", () => {
  for (const { message, stamp: at } of GOLDEN_MESSAGES) {
    const frames = framesOf(message, at);
    const decoded = decodeMessage(frames);
    if (!decoded.ok || decoded.message.command !== "SUBMIT") continue;
    for (const { payload, tensors } of decoded.message.items) {
      if (payload.length > 0) expect(frames.some((frame) => frame.buffer === payload.buffer)).toBe(true);
      if (tensors.length > 0) expect(tensors.buffer).toBe(frames[0]!.buffer);
    }
  }
});

test("what was decoded can be sent on, as it is", () => {
  fc.assert(
    fc.property(arbitraryMessage, (message) => {
      const frames = framesOf(message);
      const decoded = decodeMessage(frames);
      if (!decoded.ok) throw new Error(decoded.fault);
      expect(framesOf(decoded.message)).toEqual(frames);
    }),
    { numRuns: 100 },
  );
});

test("texts that are too long are cut behind a whole character, so that the peer takes them", () => {
  const cases = [
    ["x".repeat(2_000), "x".repeat(1_024)],
    ["x".repeat(1_024), "x".repeat(1_024)],
    [`${"x".repeat(1_023)}é`, "x".repeat(1_023)],
    [`${"x".repeat(1_022)}é`, `${"x".repeat(1_022)}é`],
    [`${"x".repeat(1_021)}😀`, "x".repeat(1_021)],
    ["é".repeat(600), "é".repeat(512)],
  ] as const;
  for (const [given, kept] of cases) {
    const decoded = decodeMessage(framesOf({ command: "GOODBYE", reason: given, graceMs: 0 }));
    expect(decoded).toMatchObject({ ok: true, message: { reason: kept } });
  }
});

/** The longest value that the limits allow. */
function longest(field: Field<unknown>): unknown {
  if ("fields" in field) {
    const columns = Object.entries((field as StructField<unknown>).fields);
    return Object.fromEntries(columns.map(([key, column]) => [key, longest(column)]));
  }
  if ("element" in field) {
    const { element, max } = field as ListField<unknown>;
    return Array.from({ length: max }, () => longest(element));
  }
  if (field.wire === "name") return "n".repeat(LIMITS.nameBytes);
  if (field.wire === "text") return "t".repeat(LIMITS.textBytes);
  if (field.wire === "payload") return Buffer.alloc(1);
  if (field.wire === "flag") return true;
  const bin = /^bin\((\d+)\)$/.exec(field.wire);
  return bin === null ? Number.MAX_SAFE_INTEGER : Buffer.alloc(Number(bin[1]));
}

test("256 items fit into the header whatever they are: a batch can always be sent", () => {
  const withItems = commands.filter((command) => "items" in MESSAGES[command].fields && command !== "WINDOW");
  expect(withItems).toEqual(["SUBMIT", "CANCEL", "RESULT", "PARTIAL", "REJECT", "JOB"]);
  for (const command of withItems) {
    const message = { command, ...(longest(MESSAGES[command]) as object) } as Message;
    expect(framesOf(message)[0]!.length).toBeLessThanOrEqual(LIMITS.headerBytes);
    expectRoundTrip(message);
  }
});

test("tensor lists come back, from any place in memory, and other bytes give nothing", () => {
  fc.assert(
    fc.property(arbitraryTensorList, fc.nat({ max: 9 }), (tensors, offset) => {
      const bytes = encodeTensorList(tensors);
      const moved = new Uint8Array(offset + bytes.length + 1);
      moved.set(bytes, offset);
      expect(decodeTensorList(moved.subarray(offset, offset + bytes.length))).toEqual(tensors);
      expect(decodeTensorList(moved.subarray(offset))).toBeUndefined();
      for (let end = 0; end < bytes.length; end++) expect(decodeTensorList(bytes.subarray(0, end))).toBeUndefined();
    }),
  );
});

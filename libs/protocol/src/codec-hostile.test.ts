import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Decoded, decodeMessage, decodeTensorList, encodeMessage } from "./codec.ts";
import { COMMANDS, type Command } from "./command.ts";
import type { Field, ListField, StructField } from "./fields.ts";
import { LIMITS } from "./limits.ts";
import { type Message, MESSAGES } from "./message.ts";
import { MsgpackWriter } from "./msgpack.ts";
import { PayloadPacker } from "./payload.ts";
import { PREAMBLE_BYTES, writePreamble } from "./preamble.ts";
import { arbitraryMessage, GOLDEN_MESSAGES, MALFORMED_MESSAGES, TOLERATED_MESSAGES } from "./testing.ts";

// The same values in every run: a failure can be had again.
fc.configureGlobal({ seed: 1 });

const stamp = { epoch: "0123456789abcdef", seq: 1 };
const golden = GOLDEN_MESSAGES.map(({ name, message, stamp: at }) => ({
  name,
  message,
  frames: framesOf(message, at),
}));

function framesOf(message: Message, at = stamp): Buffer[] {
  return encodeMessage(message, at).map((frame) => Buffer.from(frame));
}

function headerOf(command: Command, descriptors: Uint8Array, count = 0): Buffer {
  const header = Buffer.alloc(PREAMBLE_BYTES + descriptors.length);
  writePreamble(header, { ...stamp, command: COMMANDS[command].number, mustUnderstand: true, count });
  header.set(descriptors, PREAMBLE_BYTES);
  return header;
}

function hex(spaced: string): Buffer {
  return Buffer.from(spaced.replaceAll(" ", ""), "hex");
}

/** A message that was accepted says something that can be said again, in the same words. */
function expectFaultOrWellFormed(decoded: Decoded): void {
  if (!decoded.ok) return expect(decoded.fault).not.toBe("");
  const again = decodeMessage(framesOf(decoded.message, decoded.preamble));
  expect(again).toMatchObject({ ok: true });
  if (again.ok) expect(isDeepStrictEqual(again.message, decoded.message)).toBe(true);
}

for (const { name, message, frames } of golden) {
  const [header, ...payloads] = frames as [Buffer, ...Buffer[]];

  test(`${name}: cut at any byte of the header it is a fault`, () => {
    for (let end = 0; end < header.length; end++) {
      const decoded = decodeMessage([header.subarray(0, end), ...payloads]);
      expect(decoded.ok).toBe(false);
      if (!decoded.ok) expect(decoded.answer).toBe(end < PREAMBLE_BYTES ? undefined : "malformed_message");
    }
    expect(decodeMessage([Buffer.concat([header, Buffer.from([0])]), ...payloads]).ok).toBe(false);
  });

  test(`${name}: with any bit of the header flipped it is a fault or a message`, () => {
    for (let bit = 0; bit < header.length * 8; bit++) {
      const flipped = Buffer.from(header);
      flipped[bit >> 3]! ^= 1 << (bit & 7);
      expectFaultOrWellFormed(decodeMessage([flipped, ...payloads]));
    }
  });

  if (payloads.length === 0) continue;
  test(`${name}: with payload frames cut or missing it is a fault, of ${message.command}`, () => {
    for (let i = 0; i < payloads.length; i++) {
      expect(decodeMessage([header, ...payloads.toSpliced(i, 1)]).ok).toBe(false);
      expect(decodeMessage([header, ...payloads.with(i, payloads[i]!.subarray(0, -1))]).ok).toBe(false);
      expect(decodeMessage([header, ...payloads.with(i, Buffer.alloc(0))]).ok).toBe(false);
    }
    expect(decodeMessage([header]).ok).toBe(false);
  });
}

test("no frames at all is a fault to keep silent about", () => {
  expect(decodeMessage([])).toEqual({ ok: false, fault: "no frames", answer: undefined, seq: 0 });
});

for (const { name, frames, answer } of MALFORMED_MESSAGES) {
  test(`malformed: ${name}`, () => {
    const decoded = decodeMessage(frames);
    expect(decoded).toMatchObject({ ok: false, answer });
    if (!decoded.ok && answer !== undefined && answer !== "unsupported_version") expect(decoded.seq).toBe(7);
  });
}

for (const { name, frames, message } of TOLERATED_MESSAGES) {
  test(`tolerated: ${name}`, () => {
    const decoded = decodeMessage(frames);
    expect(decoded).toMatchObject({ ok: true });
    if (decoded.ok) expect(decoded.message).toEqual(message);
  });
}

test("random bytes never throw, with and without a good preamble", () => {
  const octets = fc.uint8Array({ maxLength: 200 });
  fc.assert(
    fc.property(fc.array(octets, { maxLength: 4 }), (frames) => {
      expectFaultOrWellFormed(decodeMessage(frames.map((frame) => Buffer.from(frame))));
    }),
    { numRuns: 500 },
  );
  const command = fc.constantFrom(...(Object.keys(COMMANDS) as Command[]));
  // Mostly tags of the kinds that MRP uses, so that some of it gets far.
  const likely = fc.array(
    fc.oneof(fc.constantFrom(0x90, 0x91, 0x92, 0x93, 0xa0, 0xa1, 0xc4, 0x00, 0x01), fc.nat(255)),
    {
      maxLength: 200,
    },
  );
  fc.assert(
    fc.property(command, likely, fc.nat({ max: 2 }), (name, descriptors, count) => {
      expectFaultOrWellFormed(decodeMessage([headerOf(name, Uint8Array.from(descriptors), count), Buffer.alloc(16)]));
    }),
    { numRuns: 3_000 },
  );
});

test("good messages with a stretch replaced never throw", () => {
  const edit = fc.record({ at: fc.nat(), drop: fc.nat({ max: 9 }), bytes: fc.uint8Array({ maxLength: 9 }) });
  fc.assert(
    fc.property(arbitraryMessage, edit, (message, { at, drop, bytes }) => {
      const [header, ...payloads] = framesOf(message) as [Buffer, ...Buffer[]];
      const start = at % (header.length + 1);
      const edited = Buffer.concat([header.subarray(0, start), bytes, header.subarray(start + drop)]);
      expectFaultOrWellFormed(decodeMessage([edited, ...payloads]));
    }),
    { numRuns: 1_000 },
  );
});

test("random bytes are no tensor list, or a good one", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (octets) => {
      decodeTensorList(octets);
    }),
    { numRuns: 1_000 },
  );
});

test("counts and lengths that promise gigabytes cost nothing", () => {
  const bombs = MALFORMED_MESSAGES.filter(({ name }) => name.includes("2^32"));
  expect(bombs.length).toBeGreaterThanOrEqual(5);
  const before = process.memoryUsage();
  for (let i = 0; i < 20_000; i++) for (const { frames } of bombs) decodeMessage(frames);
  const after = process.memoryUsage();
  // One honoured promise would be 4 GiB; garbage that awaits its collection is a few MiB.
  expect(after.heapUsed - before.heapUsed).toBeLessThan(128 * 1024 * 1024);
  expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(1024 * 1024);
});

test("too many frames are refused, however they are used", () => {
  const header = hex("91 05");
  const frames = Array.from({ length: LIMITS.frames + 1 }, () => Buffer.alloc(0));
  expect(decodeMessage([headerOf("DRAINED", header), ...frames.slice(1)])).toMatchObject({ ok: true });
  expect(decodeMessage([headerOf("DRAINED", header), ...frames])).toMatchObject({
    ok: false,
    answer: "malformed_message",
  });
});

test("a header of one byte more than the limit is refused unread", () => {
  const tooLong = headerOf("DRAINED", Buffer.alloc(LIMITS.headerBytes - PREAMBLE_BYTES + 1, 0x91));
  expect(decodeMessage([tooLong])).toMatchObject({ ok: false, fault: "DRAINED: the header is too long" });
});

test("a payload of one byte more than the limit is refused", () => {
  const frame = Buffer.alloc(LIMITS.payloadBytes + 1);
  const item = (length: number): string =>
    `92 05 91 96 00 00 03 01 93 00 00 ce ${length.toString(16).padStart(8, "0")} c4 00`;
  expect(decodeMessage([headerOf("PARTIAL", hex(item(LIMITS.payloadBytes)), 1), frame])).toMatchObject({ ok: true });
  expect(decodeMessage([headerOf("PARTIAL", hex(item(LIMITS.payloadBytes + 1)), 1), frame])).toMatchObject({
    ok: false,
    answer: "malformed_message",
  });
});

/** The field as a newer peer writes it: with fields behind the last one of every struct. */
function newer(field: Field<unknown>): Pick<Field<unknown>, "write"> {
  if ("fields" in field) {
    const columns = Object.entries((field as StructField<unknown>).fields);
    return {
      write(sink, value) {
        sink.msgpack.array(columns.length + 3);
        for (const [key, column] of columns) newer(column).write(sink, (value as Record<string, unknown>)[key]);
        sink.msgpack.uint(70_000);
        sink.msgpack.array(2);
        sink.msgpack.str("added later");
        sink.msgpack.array(0);
        sink.msgpack.bin(Buffer.alloc(300));
      },
    };
  }
  if (!("element" in field)) return field;
  const element = newer((field as ListField<unknown>).element);
  return {
    write(sink, values) {
      sink.msgpack.array((values as unknown[]).length);
      for (const value of values as unknown[]) element.write(sink, value);
    },
  };
}

test("fields that a newer peer added to any struct are passed over", () => {
  for (const { name, message, frames } of golden) {
    const sink = { msgpack: new MsgpackWriter(PREAMBLE_BYTES), payloads: new PayloadPacker() };
    newer(MESSAGES[message.command]).write(sink, message);
    const header = sink.msgpack.finish();
    frames[0]!.copy(header, 0, 0, PREAMBLE_BYTES);
    const decoded = decodeMessage([header, ...frames.slice(1)]);
    expect([name, decoded]).toMatchObject([name, { ok: true }]);
    if (decoded.ok) expect(decoded.message).toEqual(message);
  }
});

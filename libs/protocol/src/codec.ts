import { COMMANDS, type Command, commandOfNumber } from "./command.ts";
import type { ErrorCode } from "./error-code.ts";
import { LIMITS } from "./limits.ts";
import { type Content, type Message, MESSAGES, TENSORS, type TensorList } from "./message.ts";
import { MsgpackReader, MsgpackWriter } from "./msgpack.ts";
import { PayloadPacker, PayloadReader } from "./payload.ts";
import { type Preamble, PREAMBLE_BYTES, readPreamble, writePreamble } from "./preamble.ts";
import type { StructField } from "./fields.ts";

/** What the sender stamps on a message: its incarnation (16 hex digits) and the running number on this connection. */
export type Stamp = { readonly epoch: string; readonly seq: number };

export type Decoded =
  | { readonly ok: true; readonly preamble: Preamble; readonly message: Message }
  /**
   * `answer` is the code for an ERROR to the peer, or undefined where silence is right: bytes that are not MRP at all, and
   * commands of a newer version that need not be understood. Those count in the sequence: `preamble` is there wherever it could
   * be read; without one `seq` is 0.
   */
  | {
      readonly ok: false;
      readonly fault: string;
      readonly answer: ErrorCode | undefined;
      readonly seq: number;
      readonly preamble: Preamble | undefined;
    };

const schemas = MESSAGES as Record<Command, StructField<unknown>>;

/**
 * A message to its frames: the header, then payload frames. The frames belong to the transport from then on, and so do the
 * payloads: those of LIMITS.packBelowBytes and more, and those that share their frame with none, are in them by reference.
 * The caller keeps within LIMITS: what is beyond them is written, and refused by the peer. Texts are cut.
 */
export function encodeMessage(message: Message, stamp: Stamp): Uint8Array[] {
  const msgpack = new MsgpackWriter(PREAMBLE_BYTES);
  const payloads = new PayloadPacker();
  schemas[message.command].write({ msgpack, payloads }, message);
  const header = msgpack.finish();
  writePreamble(header, {
    command: COMMANDS[message.command].number,
    mustUnderstand: true,
    count: countOf(message),
    epoch: stamp.epoch,
    seq: stamp.seq,
  });
  return [header, ...payloads.finish()];
}

/** Frames to a message. Checks everything before it returns anything, and never throws, whatever the bytes. */
export function decodeMessage(frames: readonly Buffer[]): Decoded {
  const header = frames[0];
  if (header === undefined) return silent("no frames");
  const preamble = readPreamble(header);
  if ("fault" in preamble) {
    if (preamble.fault === "version")
      return { ...silent(`major version ${preamble.major}`), answer: "unsupported_version" };
    return silent(`bad preamble: ${preamble.fault}`);
  }
  const command = commandOfNumber(preamble.command);
  if (command === undefined) {
    const fault = `unknown command ${preamble.command}`;
    return {
      ok: false,
      fault,
      answer: preamble.mustUnderstand ? "unsupported" : undefined,
      seq: preamble.seq,
      preamble,
    };
  }
  const malformed = (fault: string): Decoded => ({
    ok: false,
    fault: `${command}: ${fault}`,
    answer: "malformed_message",
    seq: preamble.seq,
    preamble,
  });
  if (header.length > LIMITS.headerBytes) return malformed("the header is too long");
  if (frames.length > 1 + LIMITS.frames) return malformed("too many frames");
  const msgpack = new MsgpackReader(header, PREAMBLE_BYTES);
  const content = schemas[command].read({ msgpack, payloads: new PayloadReader(frames.slice(1)) }) as Content<Command>;
  if (msgpack.fault !== "") return malformed(msgpack.fault);
  if (!msgpack.atEnd) return malformed("bytes behind the descriptors");
  if (countOf(content) !== preamble.count) return malformed("the count is not the number of items");
  return { ok: true, preamble, message: Object.assign(content, { command }) as Message };
}

/** What the preamble counts: the items of a command that has a list of them, else 0. */
function countOf(content: Content<Command>): number {
  return "items" in content && typeof content.items === "object" ? content.items.length : 0;
}

/**
 * Lists of tensors are the same request for request, but for their rows at most: the last one written and the last one read are kept. Half a
 * microsecond a list, four times a request, is what that saves.
 */
let written: { readonly list: TensorList; readonly bytes: Buffer } | undefined;
let read: { readonly list: TensorList; readonly bytes: Buffer } | undefined;

/** A tensor list to the opaque bytes that travel in `tensors`. Neither may be changed afterwards: both may be given out again. */
export function encodeTensorList(list: TensorList): Buffer {
  if (written !== undefined && isSameList(list, written.list)) return written.bytes;
  const msgpack = new MsgpackWriter(0, 128);
  TENSORS.write({ msgpack, payloads: new PayloadPacker() }, list);
  const bytes = msgpack.finish();
  written = { list, bytes };
  return bytes;
}

/** The opaque bytes of `tensors` to a tensor list, which is not to be changed, or undefined for bytes that are not one. Never throws. */
export function decodeTensorList(bytes: Uint8Array): TensorList | undefined {
  if (read?.bytes.equals(bytes) === true) return read.list;
  // A copy: the bytes are a view into a message, which would be kept in memory.
  const buffer = Buffer.from(bytes);
  const msgpack = new MsgpackReader(buffer);
  const list = TENSORS.read({ msgpack, payloads: new PayloadReader([]) });
  if (msgpack.fault !== "" || !msgpack.atEnd) return undefined;
  read = { list, bytes: buffer };
  return list;
}

function isSameList(a: TensorList, b: TensorList): boolean {
  if (a.tensors.length !== b.tensors.length || !isSameRow(a.outputs, b.outputs)) return false;
  for (let i = 0; i < a.tensors.length; i++) {
    const { name, datatype, shape, bytes } = a.tensors[i]!;
    const other = b.tensors[i]!;
    if (bytes !== other.bytes || name !== other.name || datatype !== other.datatype) return false;
    if (!isSameRow(shape, other.shape)) return false;
  }
  return true;
}

function isSameRow<T extends string | number>(a: readonly T[], b: readonly T[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function silent(fault: string): { ok: false; fault: string; answer: undefined; seq: number; preamble: undefined } {
  return { ok: false, fault, answer: undefined, seq: 0, preamble: undefined };
}

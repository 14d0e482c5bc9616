/**
 * The fixed 24 octets at the start of every MRP/1 message (integers big-endian):
 *
 * ```
 *  0 E5 1B    signature
 *  2 01       major version
 *  3 command
 *  4 flags    bit 0: must-understand (a receiver that does not know the command answers ERROR); others zero
 *  5 00       reserved
 *  6 count    uint16: items in the message, 0 for messages without items
 *  8 epoch    8 random octets: this incarnation of the sender
 * 16 seq      uint64: 1, 2, 3, … per session and direction, a gap means lost messages; 0: outside a session (ERROR only)
 * ```
 */
export const PREAMBLE_BYTES = 24;

/** The major version of the protocol; two peers with different majors exchange nothing but ERROR. */
const MAJOR_VERSION = 1;

const SIGNATURE_0 = 0xe5;
const SIGNATURE_1 = 0x1b;
const FLAG_MUST_UNDERSTAND = 0x01;
const TWO_32 = 0x1_0000_0000;

export type Preamble = {
  /** The command's octet; it may be one that this version does not know. */
  readonly command: number;
  readonly mustUnderstand: boolean;
  /** Items in the message, 0..65535. */
  readonly count: number;
  /** 16 lowercase hex digits. */
  readonly epoch: string;
  /** 1 and up, at most 2^53 − 1; 0 outside a session. */
  readonly seq: number;
};

/** Why the first 24 octets are not a preamble that can be read; `version` names the peer's major. */
export type PreambleFault =
  | { readonly fault: "short" | "signature" | "sequence" }
  | { readonly fault: "version"; readonly major: number };

/** Writes a preamble to the first 24 octets of `target`. Throws RangeError for an epoch that is not 16 hex digits. */
export function writePreamble(target: Buffer, preamble: Preamble): void {
  target[0] = SIGNATURE_0;
  target[1] = SIGNATURE_1;
  target[2] = MAJOR_VERSION;
  target[3] = preamble.command;
  target[4] = preamble.mustUnderstand ? FLAG_MUST_UNDERSTAND : 0;
  target[5] = 0;
  target.writeUInt16BE(preamble.count, 6);
  if (preamble.epoch.length !== 16 || target.write(preamble.epoch, 8, 8, "hex") !== 8) {
    throw new RangeError("an epoch is 16 hex digits");
  }
  target.writeUInt32BE(Math.floor(preamble.seq / TWO_32), 16);
  target.writeUInt32BE(preamble.seq % TWO_32, 20);
}

/** Reads the preamble of a header frame; never throws. */
export function readPreamble(header: Buffer): Preamble | PreambleFault {
  if (header.length < PREAMBLE_BYTES) return { fault: "short" };
  if (header[0] !== SIGNATURE_0 || header[1] !== SIGNATURE_1) return { fault: "signature" };
  const major = header[2]!;
  if (major !== MAJOR_VERSION) return { fault: "version", major };
  const seq = header.readUInt32BE(16) * TWO_32 + header.readUInt32BE(20);
  if (!Number.isSafeInteger(seq)) return { fault: "sequence" };
  return {
    command: header[3]!,
    mustUnderstand: (header[4]! & FLAG_MUST_UNDERSTAND) !== 0,
    count: header.readUInt16BE(6),
    epoch: header.toString("hex", 8, 16),
    seq,
  };
}

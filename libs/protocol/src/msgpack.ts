/**
 * The part of MessagePack that MRP/1 uses: integers of −1 to 2^53 − 1, UTF-8 strings, binary and arrays.
 *
 * Descriptors come from peers, so the reader is driven by the schema (fields.ts) and checks while it reads: there are no
 * maps, extension types or floats to build, nesting is as deep as the schema and no deeper, a length never allocates before
 * it was compared with the bytes that are left, and nothing throws. That, and one pass instead of three (scan, unpack,
 * validate), is why this is not a general library; a test compares every byte with one (msgpackr).
 *
 * Source: https://github.com/msgpack/msgpack/blob/master/spec.md
 */

const TWO_32 = 0x1_0000_0000;

/** Appends MessagePack values to one growing buffer, each in its shortest form. Never throws. */
export class MsgpackWriter {
  #buffer: Buffer;
  #length: number;

  /** `reservedBytes` octets are left free at the start for the caller to fill (the preamble). */
  constructor(reservedBytes: number, capacityBytes = 512) {
    this.#buffer = Buffer.allocUnsafe(Math.max(capacityBytes, reservedBytes));
    this.#length = reservedBytes;
  }

  /** The octets written so far; a view, to be taken once when all is written: the writer is then spent. */
  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /**
   * An integer, rounded down and kept within 0 and 2^53 − 1 (NaN is 0): a quantity that went wrong must make neither an
   * exception nor a message that the peer refuses.
   */
  uint(value: number): void {
    this.#ensure(9);
    const b = this.#buffer;
    let at = this.#length;
    if (value < 0x80) b[at++] = value < 0 ? 0 : value;
    else if (value < 0x100) {
      b[at++] = 0xcc;
      b[at++] = value;
    } else if (value < 0x1_0000) {
      b[at++] = 0xcd;
      b[at++] = value >>> 8;
      b[at++] = value;
    } else if (value < TWO_32) {
      b[at++] = 0xce;
      at = this.#fourOctets(value, at);
    } else if (Number.isNaN(value)) b[at++] = 0;
    else {
      const bounded = Math.min(value, Number.MAX_SAFE_INTEGER);
      b[at++] = 0xcf;
      at = this.#fourOctets(Math.floor(bounded / TWO_32), at);
      at = this.#fourOctets(bounded % TWO_32, at);
    }
    this.#length = at;
  }

  minusOne(): void {
    this.#ensure(1);
    this.#buffer[this.#length++] = 0xff;
  }

  str(value: string): void {
    if (value.length === 0) {
      this.#ensure(1);
      this.#buffer[this.#length++] = 0xa0;
      return;
    }
    const length = Buffer.byteLength(value);
    this.#ensure(5 + length);
    if (length < 32) this.#buffer[this.#length++] = 0xa0 | length;
    else this.#sized(0xd9, length);
    this.#buffer.write(value, this.#length);
    this.#length += length;
  }

  bin(value: Uint8Array): void {
    const length = value.byteLength;
    this.#ensure(5 + length);
    this.#sized(0xc4, length);
    this.#buffer.set(value, this.#length);
    this.#length += length;
  }

  array(length: number): void {
    this.#ensure(5);
    if (length < 16) this.#buffer[this.#length++] = 0x90 | length;
    else if (length < 0x1_0000) {
      this.#buffer[this.#length++] = 0xdc;
      this.#buffer[this.#length++] = length >>> 8;
      this.#buffer[this.#length++] = length;
    } else {
      this.#buffer[this.#length++] = 0xdd;
      this.#length = this.#fourOctets(length, this.#length);
    }
  }

  /** The head of a string or binary in its shortest form: `tag8`, and behind it in number the tags for 16 and 32 bits. */
  #sized(tag8: number, length: number): void {
    const b = this.#buffer;
    let at = this.#length;
    if (length < 0x100) {
      b[at++] = tag8;
      b[at++] = length;
    } else if (length < 0x1_0000) {
      b[at++] = tag8 + 1;
      b[at++] = length >>> 8;
      b[at++] = length;
    } else {
      b[at++] = tag8 + 2;
      at = this.#fourOctets(length, at);
    }
    this.#length = at;
  }

  #fourOctets(value: number, at: number): number {
    const b = this.#buffer;
    b[at] = value >>> 24;
    b[at + 1] = value >>> 16;
    b[at + 2] = value >>> 8;
    b[at + 3] = value;
    return at + 4;
  }

  #ensure(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}

/**
 * Reads MessagePack values in the order that the caller asks for. After the first thing that does not fit, `fault` says
 * what, and every further call gives an empty value: callers check once, at the end. Never throws, reads each octet once.
 */
export class MsgpackReader {
  readonly #buffer: Buffer;
  #at: number;
  fault = "";

  constructor(buffer: Buffer, offset = 0) {
    this.#buffer = buffer;
    this.#at = offset;
  }

  get atEnd(): boolean {
    return this.#at === this.#buffer.length;
  }

  fail(fault: string): void {
    if (this.fault === "") this.fault = fault;
  }

  /** An integer of 0 to 2^53 − 1, in any of MessagePack's integer formats. */
  uint(): number {
    const value = this.#integer();
    if (value >= 0) return value;
    this.fail("expected an integer of 0 to 2^53 − 1");
    return 0;
  }

  /** An integer of −1 to 2^53 − 1, in any of MessagePack's integer formats. */
  dimension(): number {
    const value = this.#integer();
    if (value >= -1) return value;
    this.fail("expected an integer of −1 to 2^53 − 1");
    return 0;
  }

  /** A UTF-8 string of at most `maxBytes`. */
  str(maxBytes: number): string {
    if (this.fault !== "") return "";
    const tag = this.#octet();
    if (tag === 0xa0) return "";
    const length = (tag & 0xe0) === 0xa0 ? tag & 0x1f : this.#sized(tag, 0xd9);
    if (length < 0) this.fail("expected a string");
    else if (length > maxBytes) this.fail("a string is too long");
    else if (this.#has(length)) {
      const start = this.#at;
      this.#at += length;
      return length < 24 ? this.#ascii(start) : this.#utf8(start);
    }
    return "";
  }

  /** Binary of at most `maxBytes`: a view into the message, not a copy. */
  bin(maxBytes: number): Buffer {
    if (this.fault === "") {
      const tag = this.#octet();
      const length = this.#sized(tag, 0xc4);
      if (length < 0) this.fail("expected binary");
      else if (length > maxBytes) this.fail("binary is too long");
      else if (length > 0 && this.#has(length)) {
        const start = this.#at;
        this.#at += length;
        return this.#buffer.subarray(start, this.#at);
      }
    }
    return EMPTY;
  }

  /** The length of an array of `min` to `max` elements, whose elements the caller reads next. */
  array(min: number, max: number): number {
    if (this.fault !== "") return 0;
    const tag = this.#octet();
    const length = (tag & 0xf0) === 0x90 ? tag & 0x0f : tag === 0xdc ? this.#big(2) : tag === 0xdd ? this.#big(4) : -1;
    if (length < 0) this.fail("expected an array");
    else if (length < min || length > max) this.fail("an array has too few or too many elements");
    else if (this.#has(length)) return length;
    return 0;
  }

  /** Passes over one value that a newer peer added: any scalar, or arrays of them, as deep as they are. */
  skip(): void {
    // `left` values are still to come; each of them takes an octet at least, so this ends with the message at the latest.
    for (let left = 1; left > 0 && this.fault === ""; left--) {
      const tag = this.#buffer[this.#at] ?? 0xc1;
      if ((tag & 0xf0) === 0x90 || tag === 0xdc || tag === 0xdd) left += this.array(0, this.#buffer.length);
      else this.#skipScalar();
    }
  }

  #skipScalar(): void {
    const tag = this.#octet();
    if (tag < 0x80 || tag >= 0xe0 || tag === 0xc0 || tag === 0xc2 || tag === 0xc3) return;
    if ((tag & 0xe0) === 0xa0) this.#advance(tag & 0x1f);
    else if (tag >= 0xc4 && tag <= 0xc6) this.#advance(this.#sized(tag, 0xc4));
    else if (tag >= 0xd9 && tag <= 0xdb) this.#advance(this.#sized(tag, 0xd9));
    else if (tag === 0xcc || tag === 0xd0) this.#advance(1);
    else if (tag === 0xcd || tag === 0xd1) this.#advance(2);
    else if (tag === 0xce || tag === 0xd2 || tag === 0xca) this.#advance(4);
    else if (tag === 0xcf || tag === 0xd3 || tag === 0xcb) this.#advance(8);
    else this.fail("a value of a kind that cannot be passed over");
  }

  /** An integer; NaN where there is none, or one that a number cannot hold exactly. */
  #integer(): number {
    if (this.fault !== "") return 0;
    const tag = this.#octet();
    if (tag < 0x80) return tag;
    if (tag >= 0xe0) return tag - 0x100;
    if (tag === 0xcc) return this.#big(1);
    if (tag === 0xcd) return this.#big(2);
    if (tag === 0xce) return this.#big(4);
    if (tag === 0xd0) return (this.#big(1) << 24) >> 24;
    if (tag === 0xd1) return (this.#big(2) << 16) >> 16;
    if (tag === 0xd2) return this.#big(4) | 0;
    if (tag !== 0xcf && tag !== 0xd3) return NaN;
    const high = tag === 0xd3 ? this.#big(4) | 0 : this.#big(4);
    const value = high * TWO_32 + this.#big(4);
    return Number.isSafeInteger(value) ? value : NaN;
  }

  /** The length that follows `tag`: `tag8`, or the tags for 16 and 32 bits behind it in number; −1 for any other tag. */
  #sized(tag: number, tag8: number): number {
    if (tag === tag8) return this.#big(1);
    if (tag === tag8 + 1) return this.#big(2);
    return tag === tag8 + 2 ? this.#big(4) : -1;
  }

  #advance(bytes: number): void {
    if (this.#has(bytes)) this.#at += bytes;
  }

  /** The octets from `start` as text: names are short and ASCII, and then this is quicker than a call out of JavaScript. */
  #ascii(start: number): string {
    const b = this.#buffer;
    let text = "";
    for (let i = start; i < this.#at; i++) {
      const octet = b[i]!;
      if (octet >= 0x80) return this.#utf8(start);
      text += String.fromCharCode(octet);
    }
    return text;
  }

  /**
   * Octets that are not UTF-8 are a fault: as U+FFFD they would take three octets each, and a name that fits here would no
   * longer fit where it is forwarded to.
   */
  #utf8(start: number): string {
    const octets = this.#buffer.subarray(start, this.#at);
    const text = octets.toString("utf8");
    if (!text.includes("\ufffd") || Buffer.from(text).equals(octets)) return text;
    this.fail("a string is not UTF-8");
    return "";
  }

  #has(bytes: number): boolean {
    if (this.#at + bytes <= this.#buffer.length) return true;
    this.fail("the message ends early");
    return false;
  }

  #octet(): number {
    if (this.#at < this.#buffer.length) return this.#buffer[this.#at++]!;
    this.fail("the message ends early");
    return 0xc1;
  }

  #big(bytes: 1 | 2 | 4): number {
    if (!this.#has(bytes)) return 0;
    const at = this.#at;
    this.#at += bytes;
    if (bytes === 1) return this.#buffer[at]!;
    return bytes === 2 ? this.#buffer.readUInt16BE(at) : this.#buffer.readUInt32BE(at);
  }
}

const EMPTY = Buffer.alloc(0);

/**
 * Numbers in JSON to singles, without a JavaScript number or string for each in between: less than half of what JSON.parse and
 * Float32Array take. Pure, except that the memory it returns comes from Node's buffer pool.
 */

/** From this magnitude on, a double rounds to an infinite single: 2^128 − 2^103. */
export const SINGLE_OVERFLOW = 3.4028235677973366e38;

/** Powers of ten that a double holds exactly. */
const POWERS = Array.from({ length: 23 }, (_, exponent) => 10 ** exponent);

const [TAB, LINE_FEED, CARRIAGE_RETURN, SPACE] = [0x09, 0x0a, 0x0d, 0x20];
const [PLUS, COMMA, MINUS, DOT, ZERO, UPPER_E, LOWER_E] = [0x2b, 0x2c, 0x2d, 0x2e, 0x30, 0x45, 0x65];

/** Decimal digits that an int32 holds, whatever they are; twice as many are more than a double can tell apart. */
const CHUNK_DIGITS = 9;

/** A double and its lower half. */
const double = new Float64Array(1);
const lowerHalf = new Uint32Array(double.buffer, new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 0 : 4, 1);

/** The bits of a double that a single has no room for; a double in the middle between two singles has the highest of them alone. */
const ROUNDED_BITS = 2 ** 29 - 1;
const MIDDLE = 2 ** 28;

/** Our doubles are off by less than this many of their last places: two roundings, and digits beyond the eighteenth. */
const DOUBT = 4;

/**
 * The numbers of a JSON array that has nothing else in it, as little-endian singles: `count` of them between the bytes `from` and `end`, the
 * brackets left out. Undefined for whatever is not that, a number beyond the range of singles included. The memory is aligned to 8 bytes.
 *
 * Each is the single that JSON.parse and Float32Array make of the text: the one nearest to the double nearest to it. A double
 * made of up to 18 digits and a power of ten is off by a few of its last places at most, which matters only in the middle
 * between two singles: those, and all with powers beyond 22 (subnormal ones among them), are left to Number. O(bytes).
 */
export function readSingles(
  text: Buffer,
  { from, end, count }: { readonly from: number; readonly end: number; readonly count: number },
): Buffer | undefined {
  const target = allocate(count);
  const singles = new Float32Array(target.buffer, target.byteOffset, count);
  let at = from;
  for (let i = 0; i < count; i++) {
    at = afterSpace(text, at);
    const isNegative = text[at] === MINUS;
    if (isNegative) at++;
    const first = at;
    // The first digits that count, the next ones, and how many these are.
    let high = 0;
    let low = 0;
    let lowDigits = 0;
    let scale = 0;
    let limit = at + CHUNK_DIGITS;
    let digit = text[at]! - ZERO;
    for (; at < limit && digit >= 0 && digit <= 9; digit = text[++at]! - ZERO) high = (high * 10 + digit) | 0;
    const integers = at - first;
    if (integers === 0 || (integers > 1 && text[first] === ZERO)) return undefined;
    // Too large to matter: Number's.
    let isOdd = digit >= 0 && digit <= 9;
    while (digit >= 0 && digit <= 9) digit = text[++at]! - ZERO;
    if (text[at] === DOT) {
      const firstDecimal = ++at;
      if (high === 0) while (text[at] === ZERO) at++;
      limit = at + CHUNK_DIGITS - (high === 0 ? 0 : integers);
      digit = text[at]! - ZERO;
      for (; at < limit && digit >= 0 && digit <= 9; digit = text[++at]! - ZERO) high = (high * 10 + digit) | 0;
      const secondChunk = at;
      limit = at + CHUNK_DIGITS;
      for (; at < limit && digit >= 0 && digit <= 9; digit = text[++at]! - ZERO) low = (low * 10 + digit) | 0;
      lowDigits = at - secondChunk;
      scale = firstDecimal - at;
      while (digit >= 0 && digit <= 9) digit = text[++at]! - ZERO;
      if (at === firstDecimal) return undefined;
    }
    if (text[at] === LOWER_E || text[at] === UPPER_E) {
      const sign = text[++at];
      if (sign === MINUS || sign === PLUS) at++;
      const firstOfExponent = at;
      let exponent = 0;
      digit = text[at]! - ZERO;
      for (; digit >= 0 && digit <= 9; digit = text[++at]! - ZERO) exponent = exponent * 10 + digit;
      if (at === firstOfExponent) return undefined;
      scale += sign === MINUS ? -exponent : exponent;
    }
    isOdd ||= scale > 22 || scale < -22;
    const mantissa = lowDigits === 0 ? high : high * POWERS[lowDigits]! + low;
    let size = isOdd ? Number.NaN : scale < 0 ? mantissa / POWERS[-scale]! : mantissa * POWERS[scale]!;
    double[0] = size;
    const isMiddle = Math.abs((lowerHalf[0]! & ROUNDED_BITS) - MIDDLE) <= DOUBT;
    if (isMiddle || isOdd) size = Number(text.toString("latin1", first, at));
    if (!(size < SINGLE_OVERFLOW)) return undefined;
    singles[i] = isNegative ? -size : size;
    at = afterSpace(text, at);
    if (i < count - 1 && text[at++] !== COMMA) return undefined;
  }
  return at === end ? target : undefined;
}

function afterSpace(text: Buffer, from: number): number {
  let at = from;
  for (
    let octet = text[at];
    octet === SPACE || octet === LINE_FEED || octet === CARRIAGE_RETURN || octet === TAB;
    octet = text[++at]
  );
  return at;
}

/** Pooled memory, aligned so that every typed array can view it. */
function allocate(count: number): Buffer {
  const buffer = Buffer.allocUnsafe(count * Float32Array.BYTES_PER_ELEMENT);
  return buffer.byteOffset % 8 === 0 ? buffer : Buffer.allocUnsafeSlow(buffer.length);
}

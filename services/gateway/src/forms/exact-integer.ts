/** Digits of 2^64 − 1, the largest integer of any datatype. */
const DIGITS_MAX = 20;

/**
 * The exact integer that a JSON number's text stands for, or undefined where it is not an integer or has more digits than
 * any datatype holds. JSON.parse alone rounds beyond 2^53.
 */
export function exactInteger(source: string): bigint | undefined {
  const parts = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(source);
  if (parts === null) return undefined;
  const [, sign = "", whole = "", fraction = "", exponent = "0"] = parts;
  // Trailing zeros move into the exponent, so that what is left counts the digits that matter.
  const digits = (whole + fraction).replace(/^0+/, "");
  const significant = trimZeros(digits);
  if (significant === "") return 0n;
  const zeros = Number(exponent) - fraction.length + (digits.length - significant.length);
  if (zeros < 0 || significant.length + zeros > DIGITS_MAX) return undefined;
  return BigInt(sign + significant + "0".repeat(zeros));
}

/** Without trailing zeros; a loop, because /0+$/ takes quadratic time on hostile digits. */
function trimZeros(digits: string): string {
  let end = digits.length;
  while (end > 0 && digits.charCodeAt(end - 1) === 48) end--;
  return digits.slice(0, end);
}

/** What JSON.parse hands a reviver beside the value: the text of a primitive (ES2026, JSON.parse source text access). */
type ReviverContext = { readonly source?: string };

function reviveExact(_key: string, value: unknown, context?: ReviverContext): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
  return exactInteger(context?.source ?? "") ?? value;
}

/**
 * JSON text to values, with bigints for the integers beyond ±(2^53 − 1). Several times slower than JSON.parse, and recursive:
 * throws RangeError on text that is nested too deep for the stack, SyntaxError on text that is not JSON.
 */
export function parseExact(text: string): unknown {
  return JSON.parse(text, reviveExact);
}

import { isUtf8 } from "node:buffer";
import { parseExact } from "./exact-integer.ts";
import { NEEDS_EXACT } from "./json-data.ts";
import { isDeeperThan } from "./json-depth.ts";
import { Refusal } from "../http/refusal.ts";

/** Characters of the parser's message that an answer repeats: it quotes the body. */
const MESSAGE_CHARS = 160;

/** A body of so many characters may be nested as it likes: what JSON.parse does to it takes no time. */
const DEPTH_FREE_CHARS = 16 * 1024;

/** Levels of a larger body; as in Triton (rapidjson's recursion there). A level costs JSON.parse ten times what a number does. */
const DEPTH_MAX = 100;

/** The text of a body, or `invalid_json` where it is empty or not UTF-8 (which decoding alone would hide). */
export function textOf(body: Buffer): string | Refusal {
  if (body.byteLength === 0) return new Refusal("invalid_json", "the body is empty; a JSON object is expected");
  return isUtf8(body) ? body.toString("utf8") : new Refusal("invalid_json", "the body is not UTF-8");
}

/** Builds a value from parsed JSON; NEEDS_EXACT asks to be called again with exact integers in it. */
export type Build<Context, Result> = (root: unknown, context: Context) => Result | Refusal | typeof NEEDS_EXACT;

/**
 * Parses a body and builds a request from it. One parse is the rule; a second, slow one with exact integers is made only when
 * `build` asks. Never throws, whatever the text: `invalid_json` also covers nesting that is too deep.
 */
export function buildFromJson<Context, Result>(
  text: string,
  context: Context,
  build: Build<Context, Result>,
): Result | Refusal {
  if (text.length > DEPTH_FREE_CHARS && isDeeperThan(text, DEPTH_MAX)) {
    return new Refusal("invalid_json", `the body is nested too deep: more than ${DEPTH_MAX} levels`);
  }
  const root = parseWith(JSON.parse, text);
  if (root instanceof Refusal) return root;
  const result = build(root, context);
  if (result !== NEEDS_EXACT) return result;
  const exactRoot = parseWith(parseExact, text);
  if (exactRoot instanceof Refusal) return exactRoot;
  const exactResult = build(exactRoot, context);
  if (exactResult !== NEEDS_EXACT) return exactResult;
  return new Refusal("invalid_value", "a number beyond 2^53 is not an integer, or not one of 64 bits");
}

function parseWith(parse: (text: string) => unknown, text: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) {
      return new Refusal("invalid_json", `the body is not JSON: ${error.message.slice(0, MESSAGE_CHARS)}`);
    }
    if (error instanceof RangeError) return new Refusal("invalid_json", "the body is nested too deep");
    throw error;
  }
}

/** Whether a JSON value is an object (no array, not null). Read its keys with care: a client may name them anything. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

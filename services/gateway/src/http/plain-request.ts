import { hotModel } from "./hot-route.ts";
import { isKnownHost } from "./known-host.ts";

/** An inference request whose bytes leave no doubt what they mean. */
export type PlainRequest = {
  readonly model: string;
  /** Flat: name in lower case, value. No name comes twice. */
  readonly headers: readonly string[];
  /** A view of the bytes that were given. */
  readonly body: Buffer;
};

/** The head is plain, and its body has not come whole. */
export const INCOMPLETE = Symbol("incomplete");

export type PlainLimits = {
  readonly headerBytesMax: number;
  readonly headerCountMax: number;
  readonly bodyBytesMax: number;
};

const BLANK_LINE = Buffer.from("\r\n\r\n");
const REQUEST_LINE = /POST ([\x21-\x7e]+) HTTP\/1\.1\r\n/y;
const HEADER_LINE = /([A-Za-z][A-Za-z0-9-]*): *([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)\r\n/y;
const LENGTH = /^[1-9]\d{0,8}$/;

/** What a message with one of these means, or where it ends, is for a whole HTTP parser to say. */
const NOT_PLAIN: ReadonlySet<string> = new Set([
  "content-encoding",
  "expect",
  "http2-settings",
  "keep-alive",
  "origin", // not for a parser, but for who answers it: see cors.ts
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/**
 * Reads bytes that are one request of the hot route and nothing else: HTTP/1.1, each header line `name: value` of visible ASCII and
 * ended by CR LF, a plain Host, one Content-Length. Undefined is no refusal: a general parser has to look, and so it has at everything
 * that is not of this small regular form, however harmless. What is taken must mean the same to every parser (RFC 9112 §11.2). O(bytes of the head).
 */
export function readPlainRequest(bytes: Buffer, limits: PlainLimits): PlainRequest | typeof INCOMPLETE | undefined {
  const headBytes = bytes.indexOf(BLANK_LINE) + 2;
  if (headBytes < 2 || headBytes > limits.headerBytesMax) return undefined;
  const head = bytes.toString("latin1", 0, headBytes);
  REQUEST_LINE.lastIndex = 0;
  const target = REQUEST_LINE.exec(head)?.[1];
  const model = target === undefined ? undefined : hotModel(target);
  const headers = model === undefined ? undefined : readHeaders(head, REQUEST_LINE.lastIndex, limits.headerCountMax);
  if (model === undefined || headers === undefined) return undefined;
  const length = valueOf(headers, "content-length") ?? "";
  const host = valueOf(headers, "host");
  if (!LENGTH.test(length) || host === undefined || !isKnownHost(host)) return undefined;
  const bodyBytes = Number(length);
  const bodyAt = headBytes + 2;
  if (bodyBytes > limits.bodyBytesMax || bytes.byteLength > bodyAt + bodyBytes) return undefined;
  if (bytes.byteLength < bodyAt + bodyBytes) return INCOMPLETE;
  return { model, headers, body: bytes.subarray(bodyAt) };
}

/** All lines from a place on to the end; undefined where one is not plain, or one too many. O(n²) in their number, so it is checked as they are read. */
function readHeaders(head: string, from: number, countMax: number): string[] | undefined {
  const headers: string[] = [];
  HEADER_LINE.lastIndex = from;
  for (let at = from; at < head.length; at = HEADER_LINE.lastIndex) {
    const line = HEADER_LINE.exec(head);
    if (line === null || headers.length === 2 * countMax) return undefined;
    const name = line[1]!.toLowerCase();
    const value = line[2]!;
    if (NOT_PLAIN.has(name) || valueOf(headers, name) !== undefined) return undefined;
    if (name === "connection" && value.toLowerCase() !== "keep-alive") return undefined;
    headers.push(name, value);
  }
  return headers;
}

/** The value of a header of a flat list; `name` in lower case. */
export function valueOf(headers: readonly string[], name: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) if (headers[i] === name) return headers[i + 1];
  return undefined;
}

/**
 * One HTTP answer. `head` is the status line and the headers as they came, without the empty line. Head and body are borrowed: read
 * them before the call that brings the answer returns.
 */
export type HttpAnswer = { readonly status: number; readonly head: string; readonly body: Buffer };

/** The peer sent what a strict HTTP/1.1 client with one request in flight must not accept. */
export class HttpFault extends Error {
  override readonly name = "HttpFault";
}

const HEAD_BYTES_MAX = 64 * 1024;
const BODY_BYTES_MAX = 64 * 1024 * 1024;
const LENGTH_DIGITS_MAX = 9;
const EMPTY = Buffer.alloc(0);
const CR = 0x0d;
const LF = 0x0a;
const SPACE = 0x20;
const ZERO = 0x30;
const NINE = 0x39;

const VERSION = Buffer.from("HTTP/1.1 ");
/** Beginnings of header lines, in small letters. */
const CONTENT_LENGTH = Buffer.from("content-length:");
const TRANSFER_ENCODING = Buffer.from("transfer-encoding:");
const CLOSE = Buffer.from("connection: close");

/** An answer as it lies in the bytes that were received; its text is made for those who ask. */
class ReceivedAnswer implements HttpAnswer {
  readonly status: number;
  /** Whether the server says that it closes the connection. */
  readonly isLast: boolean;
  readonly #bytes: Buffer;
  readonly #bodyAt: number;
  readonly #end: number;

  constructor(bytes: Buffer, end: number, { status, isLast, bodyAt }: HeadReader) {
    this.#bytes = bytes;
    this.#end = end;
    this.status = status;
    this.isLast = isLast;
    this.#bodyAt = bodyAt;
  }

  get head(): string {
    return this.#bytes.toString("latin1", 0, this.#bodyAt - 4);
  }

  get body(): Buffer {
    return this.#bytes.subarray(this.#bodyAt, this.#end);
  }
}

/**
 * Reads HTTP/1.1 answers from the bytes of one connection, on which at most one request is in flight.
 *
 * Strict on purpose, as it is the witness of the tests: an answer has a Content-Length, once, and no other framing, and
 * nothing may follow it. So a second answer to one request, or an answer to none, is a fault and not the next answer.
 *
 * It looks at each byte of a head once, wherever heads are cut, and makes no text of it: an open loop shares the processors with what it
 * measures.
 */
export class HttpAnswerReader {
  readonly #head = new HeadReader();
  #held: Buffer = EMPTY;
  #isExpecting = false;

  /** Tells that a request goes out. */
  expect(): void {
    if (this.#isExpecting) throw new HttpFault("one request at a time");
    this.#isExpecting = true;
  }

  /**
   * Takes the next bytes, the first `length` of `chunk`, which may be used again after the answer was; returns the answer when it is
   * complete.
   * @throws HttpFault; the connection is then of no use.
   */
  push(chunk: Buffer, length: number = chunk.byteLength): ReceivedAnswer | undefined {
    if (!this.#isExpecting) throw new HttpFault(`${length} bytes that nobody asked for: ${quote(chunk, 0, length)}`);
    const heldBytes = this.#held.byteLength;
    const bytes = heldBytes === 0 ? chunk : Buffer.concat([this.#held, chunk.subarray(0, length)]);
    const got = heldBytes + length;
    const head = this.#head;
    if (!head.isRead) head.read(bytes, got);
    const end = head.bodyAt + head.bodyBytes;
    if (!head.isRead || got < end) {
      this.#held = heldBytes === 0 ? Buffer.from(chunk.subarray(0, length)) : bytes;
      return undefined;
    }
    if (got > end) throw new HttpFault(`bytes behind the answer: ${quote(bytes, end, got)}`);
    const answer = new ReceivedAnswer(bytes, end, head);
    head.clear();
    this.#held = EMPTY;
    this.#isExpecting = false;
    return answer;
  }
}

/** Finds in a head what frames the answer. */
class HeadReader {
  isRead = false;
  status = 0;
  isLast = false;
  /** Where the body begins, and its length; -1 before a Content-Length. */
  bodyAt = 0;
  bodyBytes = -1;
  /** Where the line begins that is not complete yet, and how far it was looked at. */
  #lineAt = 0;
  #at = 0;

  clear(): void {
    this.isRead = false;
    this.status = 0;
    this.isLast = false;
    this.bodyAt = 0;
    this.bodyBytes = -1;
    this.#lineAt = 0;
    this.#at = 0;
  }

  /** Reads on in the first `length` of `bytes`, which begin with those of before. @throws HttpFault. */
  read(bytes: Buffer, length: number): void {
    let lineAt = this.#lineAt;
    let at = this.#at;
    for (; at < length; at++) {
      if (bytes[at] !== LF || at === 0 || bytes[at - 1] !== CR) continue;
      const lineEnd = at - 1;
      if (lineAt === 0) this.status = statusOf(bytes, lineEnd);
      else if (lineEnd > lineAt) this.#readLine(bytes, lineAt, lineEnd);
      else {
        if (this.bodyBytes < 0) throw framingFault(bytes, lineEnd);
        this.isRead = true;
        this.bodyAt = at + 1;
        return;
      }
      lineAt = at + 1;
    }
    if (length > HEAD_BYTES_MAX) throw new HttpFault("the head does not end");
    this.#lineAt = lineAt;
    this.#at = at;
  }

  #readLine(bytes: Buffer, lineAt: number, lineEnd: number): void {
    // Most lines are neither.
    const first = bytes[lineAt]! | SPACE;
    if (first === CONTENT_LENGTH[0]) {
      if (beginsWith(bytes, lineAt, CONTENT_LENGTH)) {
        if (this.bodyBytes >= 0) throw framingFault(bytes, lineEnd);
        this.bodyBytes = contentLength(bytes, lineAt + CONTENT_LENGTH.byteLength, lineEnd);
      } else if (beginsWith(bytes, lineAt, CLOSE)) this.isLast = true;
    } else if (first === TRANSFER_ENCODING[0] && beginsWith(bytes, lineAt, TRANSFER_ENCODING)) {
      throw framingFault(bytes, lineEnd);
    }
  }
}

/** Whether these bytes are at `at`, letters of either case. A line's end fits none of them, so that nothing behind it counts. */
function beginsWith(bytes: Buffer, at: number, small: Buffer): boolean {
  for (let i = 0; i < small.byteLength; i++) {
    const expected = small[i]!;
    const byte = bytes[at + i]!;
    if (byte !== expected && !(expected >= 0x61 && (byte | SPACE) === expected)) return false;
  }
  return true;
}

function statusOf(bytes: Buffer, lineEnd: number): number {
  const at = VERSION.byteLength;
  let isStatus = lineEnd === at + 3 || (lineEnd > at + 3 && bytes[at + 3] === SPACE);
  for (let i = 0; i < at; i++) isStatus &&= bytes[i] === VERSION[i];
  const status = isStatus ? numberOf(bytes, at, at + 3) : -1;
  if (status < 100 || status > 599) throw new HttpFault(`no status line: ${quote(bytes, 0, lineEnd)}`);
  return status;
}

function contentLength(bytes: Buffer, at: number, lineEnd: number): number {
  const from = bytes[at] === SPACE ? at + 1 : at;
  const length = lineEnd > from && lineEnd - from <= LENGTH_DIGITS_MAX ? numberOf(bytes, from, lineEnd) : -1;
  if (length < 0) throw framingFault(bytes, lineEnd);
  if (length > BODY_BYTES_MAX) throw new HttpFault(`a body of ${length} bytes`);
  return length;
}

/** The number of these digits; -1 where one of them is none. */
function numberOf(bytes: Buffer, from: number, end: number): number {
  let value = 0;
  for (let at = from; at < end; at++) {
    const digit = bytes[at]!;
    if (digit < ZERO || digit > NINE) return -1;
    value = value * 10 + (digit - ZERO);
  }
  return value;
}

function framingFault(bytes: Buffer, end: number): HttpFault {
  const head = bytes.toString("latin1", 0, end);
  const framing = head.match(/\r\n(?:content-length|transfer-encoding):[^\r]*/gi) ?? [];
  return new HttpFault(`one Content-Length is expected: ${JSON.stringify(framing.join(""))}`);
}

/** The value of a header, or "" where the head does not have it. `name` holds letters and hyphens only. */
export function headerOf(head: string, name: string): string {
  return new RegExp(`\\r\\n${name}:[ \\t]*([^\\r]*)`, "i").exec(head)?.[1] ?? "";
}

function quote(bytes: Buffer, from: number, end: number): string {
  return JSON.stringify(bytes.toString("latin1", from, Math.min(end, from + 80)));
}

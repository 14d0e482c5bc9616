/** One HTTP answer. `head` is the status line and the headers as they came, without the empty line; `body` is borrowed. */
export type HttpAnswer = { readonly status: number; readonly head: string; readonly body: Buffer };

/** The peer sent what a strict HTTP/1.1 client with one request in flight must not accept. */
export class HttpFault extends Error {
  override readonly name = "HttpFault";
}

const HEAD_BYTES_MAX = 64 * 1024;
const BODY_BYTES_MAX = 64 * 1024 * 1024;
const EMPTY = Buffer.alloc(0);

/**
 * Reads HTTP/1.1 answers from the bytes of one connection, on which at most one request is in flight.
 *
 * Strict on purpose, as it is the witness of the tests: an answer has a Content-Length, once, and no other framing, and
 * nothing may follow it. So a second answer to one request, or an answer to none, is a fault and not the next answer.
 */
export class HttpAnswerReader {
  #held: Buffer = EMPTY;
  #isExpecting = false;

  /** Tells that a request goes out. */
  expect(): void {
    if (this.#isExpecting) throw new HttpFault("one request at a time");
    this.#isExpecting = true;
  }

  /**
   * Takes the next bytes; returns the answer when it is complete, its body a view into them.
   * @throws HttpFault; the connection is then of no use.
   */
  push(chunk: Buffer): HttpAnswer | undefined {
    if (!this.#isExpecting) throw new HttpFault(`${chunk.byteLength} bytes that nobody asked for: ${quote(chunk)}`);
    const bytes = this.#held.byteLength === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const headBytes = bytes.indexOf("\r\n\r\n");
    if (headBytes < 0) {
      if (bytes.byteLength > HEAD_BYTES_MAX) throw new HttpFault("the head does not end");
      this.#held = bytes;
      return undefined;
    }
    const head = bytes.toString("latin1", 0, headBytes);
    const start = headBytes + 4;
    const end = start + contentLength(head);
    if (bytes.byteLength < end) {
      this.#held = bytes;
      return undefined;
    }
    if (bytes.byteLength > end) throw new HttpFault(`bytes behind the answer: ${quote(bytes.subarray(end))}`);
    this.#held = EMPTY;
    this.#isExpecting = false;
    return { status: statusOf(head), head, body: bytes.subarray(start, end) };
  }
}

function statusOf(head: string): number {
  const match = /^HTTP\/1\.1 ([1-5]\d\d)(?: |\r|$)/.exec(head);
  if (match === null) throw new HttpFault(`no status line: ${JSON.stringify(head.slice(0, 80))}`);
  return Number(match[1]);
}

function contentLength(head: string): number {
  const framing = head.match(/\r\n(?:content-length|transfer-encoding):[^\r]*/gi) ?? [];
  const match = /^\r\ncontent-length: ?(\d{1,9})$/i.exec(framing[0] ?? "");
  if (match === null || framing.length !== 1) {
    throw new HttpFault(`one Content-Length is expected: ${JSON.stringify(framing.join(""))}`);
  }
  const bytes = Number(match[1]);
  if (bytes > BODY_BYTES_MAX) throw new HttpFault(`a body of ${bytes} bytes`);
  return bytes;
}

/** The value of a header, or "" where the head does not have it. `name` holds letters and hyphens only. */
export function headerOf(head: string, name: string): string {
  return new RegExp(`\\r\\n${name}:[ \\t]*([^\\r]*)`, "i").exec(head)?.[1] ?? "";
}

function quote(bytes: Buffer): string {
  return JSON.stringify(bytes.toString("latin1", 0, 80));
}

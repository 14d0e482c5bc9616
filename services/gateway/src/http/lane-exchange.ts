import { STATUS_CODES } from "node:http";
import { bodyTooLarge } from "./body-buffer.ts";
import type { Exchange } from "./exchange.ts";
import type { Edge } from "./node-exchange.ts";
import { type PlainRequest, valueOf } from "./plain-request.ts";
import type { Refusal } from "./refusal.ts";
import { requestIdOf } from "./request-id.ts";

/** An answer as it is written: text, and bytes behind it. */
export type LaneAnswer = {
  /** The head, but for the lines of the connection and its end. */
  readonly head: string;
  readonly body: string | readonly Uint8Array[];
  /** Of the body. */
  readonly bytes: number;
  /** Whether nothing may follow on the connection. */
  readonly isClosing: boolean;
};

/** Where a request came from, and when: see `Exchange`. */
export type LaneSource = Pick<Exchange, "receivedMs" | "firstByteMs"> & {
  /** Is called once, unless the client is gone before. */
  readonly answer: (answer: LaneAnswer) => void;
};

/** An exchange of the hot lane: its request is here, whole. Answers to the byte what NodeExchange answers. */
export class LaneExchange implements Exchange {
  readonly receivedMs: number;
  readonly firstByteMs: number;
  readonly requestId: string;
  readonly method = "POST";
  readonly #request: PlainRequest;
  readonly #edge: Edge;
  readonly #answer: (answer: LaneAnswer) => void;
  #isOver = false;
  #heldBytes = 0;
  #onGone: (() => void) | undefined;

  constructor(request: PlainRequest, edge: Edge, from: LaneSource) {
    this.#request = request;
    this.#edge = edge;
    this.#answer = from.answer;
    this.receivedMs = from.receivedMs;
    this.firstByteMs = from.firstByteMs;
    this.requestId = requestIdOf(this.header("x-request-id"));
  }

  get path(): string {
    return `/v2/models/${this.#request.model}/infer`;
  }

  header(name: string): string | undefined {
    return valueOf(this.#request.headers, name);
  }

  readBody(bytesMax: number, onBody: (body: Buffer | Refusal) => void): void {
    const { body } = this.#request;
    onBody(body.byteLength > bytesMax ? bodyTooLarge(bytesMax) : (this.hold(body.byteLength) ?? body));
  }

  hold(bytes: number): Refusal | undefined {
    const bound = this.#edge.bytes;
    if (!bound.fits(bytes, this.#heldBytes)) return bound.refusal();
    bound.held += bytes;
    this.#heldBytes += bytes;
    return undefined;
  }

  onGone(callback: () => void): void {
    this.#onGone = callback;
  }

  /** The connection is closed. */
  gone(): void {
    if (this.#isOver) return;
    this.#leave();
    this.#onGone?.();
  }

  send(status: number, headers: readonly string[], body: string | readonly Uint8Array[]): void {
    if (this.#isOver) return;
    this.#leave();
    const isText = typeof body === "string";
    const bytes = isText ? Buffer.byteLength(body) : bytesOf(body);
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\ncontent-length: ${bytes}\r\nx-request-id: ${this.requestId}\r\n`;
    for (let i = 0; i + 1 < headers.length; i += 2) head += `${headers[i]}: ${headers[i + 1]}\r\n`;
    if (isText) head += "content-type: application/json\r\n";
    const saysClose = headers.includes("connection");
    const isClosing = saysClose || this.#edge.isClosing();
    if (isClosing && !saysClose) head += "connection: close\r\n";
    this.#answer({ head, body, bytes, isClosing });
  }

  #leave(): void {
    this.#isOver = true;
    this.#edge.bytes.held -= this.#heldBytes;
    this.#heldBytes = 0;
  }
}

function bytesOf(parts: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const { byteLength } of parts) bytes += byteLength;
  return bytes;
}

import type { IncomingMessage, ServerResponse } from "node:http";
import { BodyBuffer, bodyTooLarge } from "./body-buffer.ts";
import type { Exchange } from "./exchange.ts";
import type { Refusal } from "./refusal.ts";
import { requestIdOf } from "./request-id.ts";

/** A body of at most this many bytes that nobody reads is swallowed so that its connection can live on. */
const SWALLOW_BYTES_MAX = 64 * 1024;

/** How long the rest of a refused upload is read and thrown away, so that the client sees the answer and not a reset. */
export const LINGER_MS = 2000;

/**
 * - `unread`: nobody has asked for the body.
 * - `reading`: from `readBody`; chunks arrive.
 * - `read`: all of it is here.
 * - `refused`: it grew beyond the limit; what still comes is thrown away.
 */
type BodyState = "unread" | "reading" | "read" | "refused";

/**
 * An exchange over a socket of node:http. Works on the node objects themselves, and with callbacks: measured beside bare node:http
 * that parses the same body, a route with a web Response and promises takes twice the CPU, the whole gateway this way 1.3 times.
 */
export class NodeExchange implements Exchange {
  readonly receivedMs = performance.now();
  firstByteMs = this.receivedMs;
  readonly requestId: string;
  readonly #incoming: IncomingMessage;
  readonly #outgoing: ServerResponse;
  readonly #isClosing: () => boolean;
  #bodyState: BodyState = "unread";

  /** `isClosing`: whether answers now ask the client to open no further requests on this connection. */
  constructor(incoming: IncomingMessage, outgoing: ServerResponse, isClosing: () => boolean) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    this.#isClosing = isClosing;
    this.requestId = requestIdOf(incoming.headers["x-request-id"] as string | undefined);
  }

  get method(): string {
    return this.#incoming.method ?? "";
  }

  get path(): string {
    return this.#incoming.url?.split("?", 1)[0] ?? "";
  }

  header(name: string): string | undefined {
    return this.#incoming.headers[name] as string | undefined;
  }

  readBody(bytesMax: number, onBody: (body: Buffer | Refusal) => void): void {
    const incoming = this.#incoming;
    const length = announcedBytes(incoming);
    if (length !== Infinity && length > bytesMax) return onBody(bodyTooLarge(bytesMax));
    if (length === 0) {
      this.#bodyState = "read";
      return onBody(Buffer.alloc(0));
    }
    this.#bodyState = "reading";
    if (incoming.headers.expect !== undefined) this.#outgoing.writeContinue();
    const body = new BodyBuffer();
    const onEnd = (): void => {
      if (this.#bodyState !== "reading") return;
      this.#bodyState = "read";
      onBody(body.take());
    };
    incoming.on("data", (chunk: Buffer) => {
      if (this.#bodyState !== "reading") return;
      if (body.bytes === 0) this.firstByteMs = performance.now();
      if (body.bytes + chunk.byteLength > bytesMax) {
        this.#bodyState = "refused";
        body.take();
        return onBody(bodyTooLarge(bytesMax));
      }
      body.append(chunk, length);
      // The last byte is here; "end" would come a turn later.
      if (body.bytes === length) onEnd();
    });
    if (length === Infinity) incoming.on("end", onEnd);
  }

  onGone(callback: () => void): void {
    const outgoing = this.#outgoing;
    outgoing.on("close", () => {
      if (!outgoing.writableEnded) callback();
    });
  }

  send(status: number, headers: readonly string[], body: string | readonly Uint8Array[]): void {
    const outgoing = this.#outgoing;
    if (outgoing.headersSent || outgoing.destroyed) return;
    const bytes = typeof body === "string" ? Buffer.byteLength(body) : bytesOf(body);
    const lines = ["content-length", String(bytes), "x-request-id", this.requestId, ...headers];
    if (typeof body === "string") lines.push("content-type", "application/json");
    const mustLinger = this.#bodyState !== "read" && this.#mustLinger();
    if ((mustLinger || this.#isClosing()) && !headers.includes("connection")) lines.push("connection", "close");
    outgoing.writeHead(status, lines);
    if (typeof body === "string") {
      // All ASCII, as nearly always: latin1 is then the same bytes, and written faster.
      const encoding = bytes === body.length ? "latin1" : "utf8";
      if (!mustLinger) return void outgoing.end(body, encoding);
      outgoing.write(body, encoding);
    } else {
      // All that is written in one turn leaves in one call, by reference.
      for (const part of body) outgoing.write(part);
      if (!mustLinger) return void outgoing.end();
    }
    this.#linger();
  }

  /** Whether so much of the body may still come that the connection is better given up than read on. */
  #mustLinger(): boolean {
    const incoming = this.#incoming;
    if (incoming.complete) return false;
    const length = announcedBytes(incoming);
    return length > SWALLOW_BYTES_MAX || (length > 0 && incoming.headers.expect !== undefined);
  }

  /** The answer is out, its end is not: closing now, with bytes unread, would make the kernel reset the connection. */
  #linger(): void {
    const incoming = this.#incoming;
    const finish = (): void => {
      clearTimeout(timer);
      this.#outgoing.end();
    };
    const timer = setTimeout(finish, LINGER_MS);
    incoming.once("end", finish);
    incoming.once("close", finish);
    incoming.resume();
  }
}

function bytesOf(parts: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const { byteLength } of parts) bytes += byteLength;
  return bytes;
}

/** Bytes of the body as the head announces them; Infinity where it does not (chunked). */
function announcedBytes({ headers }: IncomingMessage): number {
  const length = headers["content-length"];
  if (length !== undefined) return Number(length);
  return headers["transfer-encoding"] === undefined ? 0 : Infinity;
}

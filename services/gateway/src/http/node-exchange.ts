import type { IncomingMessage, ServerResponse } from "node:http";
import { BodyBuffer, bodyTooLarge } from "./body-buffer.ts";
import type { Exchange } from "./exchange.ts";
import { Refusal } from "./refusal.ts";
import { requestIdOf } from "./request-id.ts";
import {
  allowedMs,
  type ArrivingBodies,
  type ArrivingBody,
  type ByteBound,
  type RateBound,
  TIMER_MS_MAX,
} from "./socket-bounds.ts";

/** A body of at most this many bytes that nobody reads is swallowed so that its connection can live on. */
const SWALLOW_BYTES_MAX = 64 * 1024;

/**
 * From so many bytes on that it has brought, a body waits for the next turn of the event loop: libuv would read 32 times 64 KiB of one
 * connection before it looks at another, a millisecond and more for everybody who waits behind a large body.
 */
const TURN_BYTES = 256 * 1024;

/**
 * From so many bytes on it waits for two milliseconds each time, which is 128 MB a second at most, as of a line of a gigabit: one client
 * that posts large bodies in a loop would else have half of the event loop's time.
 */
const SLOW_BYTES = 4 * 1024 * 1024;
const SLOW_MS = 2;

/** How long the rest of a refused upload is read and thrown away, so that the client sees the answer and not a reset. */
export const LINGER_MS = 2000;

/** What all exchanges over the sockets of a gateway share. */
export type Edge = {
  /** Whether answers now ask the client to open no further requests on this connection. */
  readonly isClosing: () => boolean;
  readonly bytes: ByteBound;
  readonly arriving: ArrivingBodies;
  readonly rate: RateBound;
};

/**
 * - `unread`: nobody has asked for the body.
 * - `reading`: from `readBody`; chunks arrive.
 * - `read`: all of it is here.
 * - `refused`: it grew beyond a limit or came too slowly; what still comes is thrown away.
 * - `gone`: the client went away meanwhile.
 */
type BodyState = "unread" | "reading" | "read" | "refused" | "gone";

/**
 * An exchange over a socket of node:http. Works on the node objects themselves, and with callbacks: measured beside bare node:http
 * that parses the same body, a route with a web Response and promises takes twice the CPU, the whole gateway this way 1.3 times.
 */
export class NodeExchange implements Exchange, ArrivingBody {
  readonly receivedMs = performance.now();
  firstByteMs = this.receivedMs;
  readonly requestId: string;
  readonly #incoming: IncomingMessage;
  readonly #outgoing: ServerResponse;
  readonly #edge: Edge;
  #bodyState: BodyState = "unread";
  #heldBytes = 0;
  #body: BodyBuffer | undefined;
  #onBody: ((body: Buffer | Refusal) => void) | undefined;
  #onGone: (() => void) | undefined;
  #isWatchingClose = false;
  older: ArrivingBody | undefined;
  newer: ArrivingBody | undefined;

  constructor(incoming: IncomingMessage, outgoing: ServerResponse, edge: Edge) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    this.#edge = edge;
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
    const { bytes, arriving } = this.#edge;
    if (length !== Infinity && !bytes.fits(length, 0)) return onBody(bytes.refusal());
    this.#bodyState = "reading";
    if (incoming.headers.expect !== undefined) this.#outgoing.writeContinue();
    const body = new BodyBuffer();
    this.#body = body;
    this.#onBody = onBody;
    arriving.add(this);
    this.#watchClose();
    const onEnd = (): void => {
      if (this.#bodyState !== "reading") return;
      this.#leave("read");
      onBody(body.take());
    };
    let turnEnd = TURN_BYTES;
    incoming.on("data", (chunk: Buffer) => {
      if (this.#bodyState !== "reading") return;
      if (body.bytes === 0) this.firstByteMs = performance.now();
      if (body.bytes + chunk.byteLength > bytesMax) return this.#refuseBody(bodyTooLarge(bytesMax));
      const refusal = this.hold(chunk.byteLength);
      if (refusal !== undefined) return this.#refuseBody(refusal);
      body.append(chunk, length);
      // The last byte is here; "end" would come a turn later.
      if (body.bytes === length) return onEnd();
      if (body.bytes < turnEnd) return;
      turnEnd = body.bytes + TURN_BYTES;
      incoming.pause();
      const resume = (): void => void incoming.resume();
      if (body.bytes < SLOW_BYTES) setImmediate(resume);
      else setTimeout(resume, SLOW_MS);
    });
    if (length === Infinity) incoming.on("end", onEnd);
  }

  hold(bytes: number): Refusal | undefined {
    const bound = this.#edge.bytes;
    if (!bound.fits(bytes, this.#heldBytes)) return bound.refusal();
    bound.held += bytes;
    this.#heldBytes += bytes;
    return undefined;
  }

  get arrivedBytes(): number {
    return this.#body?.bytes ?? 0;
  }

  refuseSlow(): void {
    const message = `the body came too slowly: ${this.arrivedBytes} bytes in ${Math.round(performance.now() - this.receivedMs)} ms`;
    this.#refuseBody(new Refusal("too_slow", message));
  }

  #refuseBody(refusal: Refusal): void {
    this.#leave("refused");
    this.#body?.take();
    this.#release();
    this.#onBody?.(refusal);
  }

  /** The body arrives no more. */
  #leave(to: BodyState): void {
    this.#bodyState = to;
    this.#edge.arriving.delete(this);
  }

  #release(): void {
    this.#edge.bytes.held -= this.#heldBytes;
    this.#heldBytes = 0;
  }

  onGone(callback: () => void): void {
    this.#onGone = callback;
    this.#watchClose();
  }

  /** One listener for all that has to end with the connection. */
  #watchClose(): void {
    if (this.#isWatchingClose) return;
    this.#isWatchingClose = true;
    const outgoing = this.#outgoing;
    outgoing.on("close", () => {
      if (this.#bodyState === "reading") this.#leave("gone");
      this.#release();
      if (!outgoing.writableEnded) this.#onGone?.();
    });
  }

  send(status: number, headers: readonly string[], body: string | readonly Uint8Array[]): void {
    const outgoing = this.#outgoing;
    if (outgoing.headersSent || outgoing.destroyed) return;
    const bytes = typeof body === "string" ? Buffer.byteLength(body) : bytesOf(body);
    const lines = ["content-length", String(bytes), "x-request-id", this.requestId, ...headers];
    if (typeof body === "string") lines.push("content-type", "application/json");
    const saysClose = headers.includes("connection");
    const isClosing = saysClose || this.#edge.isClosing();
    const mustLinger = this.#bodyState !== "read" && this.#mustLinger(isClosing);
    if ((mustLinger || isClosing) && !saysClose) lines.push("connection", "close");
    outgoing.writeHead(status, lines);
    if (typeof body === "string") {
      // All ASCII, as nearly always: latin1 is then the same bytes, and written faster.
      const encoding = bytes === body.length ? "latin1" : "utf8";
      if (!mustLinger) {
        outgoing.end(body, encoding);
        return this.#afterSend(bytes);
      }
      outgoing.write(body, encoding);
    } else {
      // All that is written in one turn leaves in one call, by reference.
      for (const part of body) outgoing.write(part);
      if (!mustLinger) {
        outgoing.end();
        return this.#afterSend(bytes);
      }
    }
    this.#linger();
  }

  /** The request's body is done with. An answer that its client does not read at once is held, and that not for ever. */
  #afterSend(bytes: number): void {
    this.#release();
    const outgoing = this.#outgoing;
    if (outgoing.writableLength === 0) return;
    const bound = this.#edge.bytes;
    bound.held += bytes;
    const leftMs = allowedMs(bytes, this.#edge.rate);
    // Behind others of its pipeline it has no socket yet, and theirs is the time that it waits.
    const { socket } = outgoing;
    const timer = leftMs < TIMER_MS_MAX && socket !== null ? setTimeout(() => socket.destroy(), leftMs) : undefined;
    outgoing.once("close", () => {
      clearTimeout(timer);
      bound.held -= bytes;
    });
  }

  /**
   * Whether the end of the connection has to wait for the rest of the body: so much may still come that the connection is better given
   * up than read on, or it ends anyway, as in a drain.
   */
  #mustLinger(isClosing: boolean): boolean {
    const incoming = this.#incoming;
    if (incoming.complete) return false;
    // It was too much already, or comes too slowly.
    if (this.#bodyState === "refused") return true;
    const length = announcedBytes(incoming);
    return length > SWALLOW_BYTES_MAX || (length > 0 && (isClosing || incoming.headers.expect !== undefined));
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

import type { Socket } from "node:net";
import type { Exchange } from "./exchange.ts";
import { type LaneAnswer, LaneExchange } from "./lane-exchange.ts";
import type { Edge } from "./node-exchange.ts";
import { INCOMPLETE, type PlainLimits, readPlainRequest } from "./plain-request.ts";
import { allowedMs, TIMER_MS_MAX } from "./socket-bounds.ts";

export type HotLaneOptions = {
  readonly edge: Edge;
  readonly limits: PlainLimits;
  readonly keepAliveTimeoutMs: number;
  readonly serve: (exchange: Exchange, model: string) => void;
  /** Takes a connection for the rest of its life, with all that listens to it: what has come and is not served follows as `data`. */
  readonly handOver: (socket: Socket) => void;
};

/** A request that comes in more pieces, or a larger one, is node's: what a socket gives at once is at most this long. */
const BODY_BYTES_MAX = 64 * 1024;

/** How long a new connection may stay silent in the lane, in milliseconds: from then on node looks when its head is overdue. */
const SILENT_MS = 1000;

/** Of those so many go at a look: node takes 20 µs for each, and thousands that were opened together would hold everybody. */
const SILENT_HANDED_OVER_MAX = 64;

/** How long the second piece of a request may take, in milliseconds: from then on node looks whether its body comes too slowly. */
const PIECE_MS = 250;

/**
 * - `idle`: nothing is under way, but perhaps the first piece of a request is here.
 * - `busy`: a request waits for its answer.
 * - `flushing`: its client has not taken all of the answer.
 * - `left`: ended, or another's.
 */
type LaneState = "idle" | "busy" | "flushing" | "left";

/**
 * Where connections begin, in front of node's HTTP: serves requests of the hot route that `readPlainRequest` takes, one at a time a
 * connection, for half of what they cost there (docs/performance.md). It refuses nothing and knows no other HTTP: at the first byte that
 * is anything else the connection, with this byte, goes to node's server and stays there.
 */
export class HotLane {
  readonly options: HotLaneOptions;
  readonly connections = new Set<LaneConnection>();
  readonly #keepAliveLines: string;
  /** The header line of now. */
  #dateLine = dateLine();

  constructor(options: HotLaneOptions) {
    const limits = { ...options.limits, bodyBytesMax: Math.min(BODY_BYTES_MAX, options.limits.bodyBytesMax) };
    this.options = { ...options, limits };
    const seconds = Math.floor(options.keepAliveTimeoutMs / 1000);
    this.#keepAliveLines = `Connection: keep-alive\r\nKeep-Alive: timeout=${seconds}\r\n\r\n`;
  }

  /** Takes a connection that nobody has read from. */
  take(socket: Socket): void {
    this.connections.add(new LaneConnection(socket, this));
  }

  /** What ends the head of an answer. */
  lastLines(isClosing: boolean): string {
    return this.#dateLine + (isClosing ? "\r\n" : this.#keepAliveLines);
  }

  /** Ends connections that have been idle for too long, and hands over those that are slow: to be called a few times a second. */
  look(nowMs: number): void {
    this.#dateLine = dateLine();
    let left = SILENT_HANDED_OVER_MAX;
    for (const connection of this.connections) if (connection.look(nowMs, left > 0)) left--;
  }

  closeIdle(): void {
    for (const connection of this.connections) connection.closeIdle();
  }

  closeAll(): void {
    for (const connection of this.connections) connection.socket.destroy();
  }
}

function dateLine(): string {
  return `Date: ${new Date().toUTCString()}\r\n`;
}

class LaneConnection {
  readonly socket: Socket;
  readonly #lane: HotLane;
  #state: LaneState = "idle";
  #isNew = true;
  #exchange: LaneExchange | undefined;
  /** What has come and is not served: the first piece of a request, or what came behind one that is. */
  #rest: Buffer | undefined;
  #restMs = 0;
  /** The client has ended its side behind the rest. */
  #hasEnded = false;
  /** Since when `look` has found it idle; 0: it has not. Costs requests no clock. */
  #idleMs = 0;

  constructor(socket: Socket, lane: HotLane) {
    this.socket = socket;
    this.#lane = lane;
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("error", onError);
    socket.on("close", this.#onClose);
  }

  readonly #onData = (piece: Buffer): void => {
    const bytes = this.#rest === undefined ? piece : Buffer.concat([this.#rest, piece]);
    if (this.#state !== "idle") return this.#keep(bytes);
    const { limits, edge, serve } = this.#lane.options;
    // A drain is node's: what comes from now on is told so.
    const request = edge.isClosing() ? undefined : readPlainRequest(bytes, limits);
    if (request === undefined) return this.#handOver(bytes);
    const nowMs = performance.now();
    const isFirst = this.#rest === undefined;
    if (request === INCOMPLETE) {
      // Many clients write a body apart from its head. A third piece is for node.
      if (!isFirst || !edge.bytes.fits(bytes.byteLength, 0)) return this.#handOver(bytes);
      this.#restMs = nowMs;
      return this.#hold(bytes);
    }
    const receivedMs = isFirst ? nowMs : this.#restMs;
    const firstByteMs = request.body.byteLength > piece.byteLength ? receivedMs : nowMs;
    if (!isFirst) this.#hold(undefined);
    this.#isNew = false;
    this.#idleMs = 0;
    this.#state = "busy";
    this.#exchange = new LaneExchange(request, edge, { answer: this.#answer, receivedMs, firstByteMs });
    serve(this.#exchange, request.model);
  };

  /** Bytes behind a request that is not answered: they are node's as soon as it is. */
  #keep(bytes: Buffer): void {
    this.#hold(bytes);
    if (bytes.byteLength > BODY_BYTES_MAX) this.socket.pause();
  }

  #hold(bytes: Buffer | undefined): void {
    this.#lane.options.edge.bytes.held += (bytes?.byteLength ?? 0) - (this.#rest?.byteLength ?? 0);
    this.#rest = bytes;
  }

  readonly #answer = ({ head, body, bytes, isClosing }: LaneAnswer): void => {
    const { socket } = this;
    this.#exchange = undefined;
    if (!socket.writable) return;
    const text = head + this.#lane.lastLines(isClosing);
    if (typeof body === "string") {
      // All ASCII, as nearly always: latin1 is then the same bytes, and written faster.
      socket.write(text + body, bytes === body.length ? "latin1" : "utf8");
    } else {
      socket.cork();
      socket.write(text, "latin1");
      for (const part of body) socket.write(part);
      socket.uncork();
    }
    if (socket.writableLength > 0) this.#flush(bytes);
    else this.#state = "idle";
    if (isClosing) {
      this.#state = "left";
      socket.destroySoon();
    } else if (this.#state === "idle" && this.#rest !== undefined) this.#handOver(this.#rest);
  };

  /** An answer that its client does not read at once is held, and that not for ever. */
  #flush(bytes: number): void {
    const { socket } = this;
    const { bytes: bound, rate } = this.#lane.options.edge;
    this.#state = "flushing";
    bound.held += bytes;
    const leftMs = allowedMs(bytes, rate);
    const timer = leftMs < TIMER_MS_MAX ? setTimeout(() => socket.destroy(), leftMs) : undefined;
    // Called back behind all that is written, or with an error when the connection is closed.
    socket.write("", (error) => {
      clearTimeout(timer);
      bound.held -= bytes;
      if (this.#state !== "flushing" || error instanceof Error) return;
      this.#state = "idle";
      if (this.#rest !== undefined) this.#handOver(this.#rest);
    });
  }

  /** `mayGo`: whether it is handed over if it is new and has been silent for too long. Returns whether it was. */
  look(nowMs: number, mayGo: boolean): boolean {
    if (this.#state !== "idle") return false;
    if (this.#rest !== undefined) {
      if (nowMs - this.#restMs > PIECE_MS) this.#handOver(this.#rest);
    } else if (this.#idleMs === 0) this.#idleMs = nowMs;
    else if (this.#isNew && nowMs - this.#idleMs > SILENT_MS) {
      if (mayGo) this.#handOver();
      return mayGo;
    } else if (nowMs - this.#idleMs > this.#lane.options.keepAliveTimeoutMs) this.socket.destroy();
    return false;
  }

  /** In a drain. What has begun to come is node's, and so is a connection that has not had its first request. */
  closeIdle(): void {
    if (this.#state !== "idle") return;
    if (this.#isNew || this.#rest !== undefined) this.#handOver(this.#rest);
    else this.socket.destroy();
  }

  #handOver(bytes?: Buffer): void {
    const { socket } = this;
    this.#leave();
    socket.off("data", this.#onData).off("end", this.#onEnd).off("error", onError).off("close", this.#onClose);
    this.#lane.options.handOver(socket);
    if (bytes !== undefined) socket.emit("data", bytes);
    if (this.#hasEnded) socket.emit("end");
    else socket.resume();
  }

  /** As node does: who ends its side waits for no answer; what has come of a request is node's to refuse. */
  readonly #onEnd = (): void => {
    this.#hasEnded = true;
    if (this.#rest === undefined) this.socket.end();
    else if (this.#state === "idle") this.#handOver(this.#rest);
  };

  readonly #onClose = (): void => {
    this.#leave();
    this.#exchange?.gone();
  };

  #leave(): void {
    this.#state = "left";
    this.#hold(undefined);
    this.#lane.connections.delete(this);
  }
}

/** Its close follows. */
function onError(): void {}

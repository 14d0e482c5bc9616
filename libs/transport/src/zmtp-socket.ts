import type { Socket } from "node:net";
import { LIMITS } from "@millrace/protocol";
import { encodeFrames, type SocketType, ZmtpPeer } from "./zmtp.ts";

/** How long a connection may take until its handshake is done, in ms, and a graceful close until everything is sent. */
export const HANDSHAKE_MS = 3_000;
export const CLOSE_LINGER_MS = 2_000;

/** Sees connections whose other end is gone without a word, where nobody speaks; in a session PING is earlier. First look, in ms. */
export const KEEP_ALIVE_MS = 15_000;

/**
 * What may wait for one peer in this process, beside the buffers of the connection; a peer that lets more pile up does not read and is
 * given up.
 */
const WAITING_MESSAGES_MAX = 65_536;
const WAITING_BYTES_MAX = 256 * 1024 * 1024;

/** A frame holds one payload at most, or is a header. What is too much for MRP but not for memory is the codec's to refuse, with words. */
const BOUNDS = { frameBytes: LIMITS.payloadBytes, frames: 4 * LIMITS.frames };

export type ZmtpSocketHandlers = {
  /** The handshake is done. */
  onReady(): void;
  onMessage(frames: Buffer[]): void;
  /** The connection is gone, or was never there; the last that is told. Not told where this side has ended it. */
  onClosed(): void;
};

/** A TCP connection that speaks ZMTP. Whoever makes it hands it what is read. */
export class ZmtpSocket {
  readonly #socket: Socket;
  readonly #handlers: ZmtpSocketHandlers;
  readonly #peer: ZmtpPeer;
  readonly #overdue: NodeJS.Timeout;
  #waiting = 0;

  constructor(socket: Socket, type: SocketType, handlers: ZmtpSocketHandlers) {
    this.#socket = socket;
    this.#handlers = handlers;
    this.#overdue = setTimeout(() => socket.destroy(), HANDSHAKE_MS);
    this.#peer = new ZmtpPeer(type, BOUNDS, {
      onBytes: (bytes) => void socket.write(bytes),
      onReady: () => {
        clearTimeout(this.#overdue);
        handlers.onReady();
      },
      onMessage: (frames) => handlers.onMessage(frames),
    });
    // What went wrong is of no use to anybody: `close` follows.
    socket.on("error", () => {});
    socket.on("close", this.#onClose);
    this.#peer.start();
  }

  get isReady(): boolean {
    return this.#peer.isReady;
  }

  /** What has been read; it may be changed afterwards. */
  receive(bytes: Uint8Array): void {
    if (this.#peer.receive(bytes) !== "") this.#socket.destroy();
  }

  /** False where the message cannot be sent: the handshake is not done, the connection is gone, or is given up just now. Never throws. */
  send(frames: readonly Uint8Array[]): boolean {
    const socket = this.#socket;
    if (!this.#peer.isReady || !socket.writable) return false;
    if (!socket.writableNeedDrain) this.#waiting = 0;
    else if (++this.#waiting > WAITING_MESSAGES_MAX || socket.writableLength > WAITING_BYTES_MAX) {
      socket.destroy();
      return false;
    }
    const pieces = encodeFrames(frames);
    if (pieces.length === 1) socket.write(pieces[0]!);
    else {
      socket.cork();
      for (const piece of pieces) socket.write(piece);
      socket.uncork();
    }
    return true;
  }

  /** Drops what is unsent, and tells nothing any more. */
  abandon(): void {
    this.#peer.stop();
    clearTimeout(this.#overdue);
    this.#socket.off("close", this.#onClose);
    this.#socket.destroy();
  }

  /** Gives what is unsent CLOSE_LINGER_MS; takes nothing and tells nothing any more. */
  end(): void {
    const socket = this.#socket;
    this.#peer.stop();
    clearTimeout(this.#overdue);
    socket.off("close", this.#onClose);
    socket.end();
    const linger = setTimeout(() => socket.destroy(), CLOSE_LINGER_MS);
    socket.once("close", () => clearTimeout(linger));
  }

  readonly #onClose = (): void => {
    clearTimeout(this.#overdue);
    this.#peer.stop();
    this.#handlers.onClosed();
  };
}

/** The parts of `tcp://IP:PORT`, an IPv6 literal in brackets. */
export function partsOf(address: string): { readonly host: string; readonly port: number } {
  const [, host = "", port = ""] = /^tcp:\/\/\[?(.+?)\]?:(\d+)$/.exec(address) ?? [];
  return { host, port: Number(port) };
}

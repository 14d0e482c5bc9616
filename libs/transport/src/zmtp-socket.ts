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
 * given up. A DEALER's bytes are bounded by who sends: a gateway sends all that it holds at once when its broker is back, by reference,
 * and a bound that is lower than that would end each connection on which it tries.
 */
const WAITING_MESSAGES_MAX = 65_536;
const WAITING_BYTES_MAX: Readonly<Record<SocketType, number>> = { ROUTER: 512 * 1024 * 1024, DEALER: Infinity };

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
  readonly #waitingBytesMax: number;
  /**
   * How many messages may be waiting: those since the last look, and those between it and the look before, of which all that came
   * earlier has left. Looks are as far apart as what waits takes to leave: a peer that reads but is never done is not given up.
   */
  #waiting = 0;
  #waitingBefore = 0;
  #bytesSinceLook = 0;

  constructor(socket: Socket, type: SocketType, handlers: ZmtpSocketHandlers) {
    this.#socket = socket;
    this.#handlers = handlers;
    this.#waitingBytesMax = WAITING_BYTES_MAX[type];
    this.#overdue = setTimeout(() => this.#giveUp(), HANDSHAKE_MS);
    this.#peer = new ZmtpPeer(type, BOUNDS, {
      // Before the handshake is done that is two commands; later it is PONGs, as many as the peer asks for.
      onBytes: (bytes) => void ((!this.isReady || this.#hasRoom(bytes.length)) && socket.write(bytes)),
      onReady: () => {
        clearTimeout(this.#overdue);
        handlers.onReady();
      },
      onMessage: (frames) => handlers.onMessage(frames),
    });
    // What went wrong is of no use to anybody: `close` follows.
    socket.on("error", () => {});
    socket.on("close", this.#onClose);
    // The peer has ended its side: what waits for it would be for nobody, and for ever where it stands still.
    socket.on("end", () => socket.destroy());
    this.#peer.start();
  }

  get isReady(): boolean {
    return this.#peer.isReady;
  }

  /** What has been read; it may be changed afterwards. */
  receive(bytes: Uint8Array): void {
    if (this.#peer.receive(bytes) !== "") this.#giveUp();
  }

  /** False where the message cannot be sent: the handshake is not done, the connection is gone, or is given up just now. Never throws. */
  send(frames: readonly Uint8Array[]): boolean {
    const socket = this.#socket;
    if (!this.#peer.isReady || !socket.writable) return false;
    const pieces = encodeFrames(frames);
    let bytes = 0;
    for (const { length } of pieces) bytes += length;
    if (!this.#hasRoom(bytes)) return false;
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

  /** Whether so many bytes more may wait for the peer, as one message; if not, it is given up. */
  #hasRoom(bytes: number): boolean {
    const socket = this.#socket;
    if (!socket.writableNeedDrain) {
      this.#waiting = 0;
      this.#waitingBefore = 0;
      this.#bytesSinceLook = 0;
      return true;
    }
    if (this.#bytesSinceLook >= socket.writableLength) {
      this.#waitingBefore = this.#waiting;
      this.#waiting = 0;
      this.#bytesSinceLook = 0;
    }
    this.#waiting++;
    this.#bytesSinceLook += bytes;
    if (this.#waitingBefore + this.#waiting <= WAITING_MESSAGES_MAX && socket.writableLength <= this.#waitingBytesMax)
      return true;
    this.#giveUp();
    return false;
  }

  /** `onClosed` follows, and until then nothing. */
  #giveUp(): void {
    this.#peer.stop();
    this.#socket.destroy();
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

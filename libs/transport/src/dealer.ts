import { connect } from "node:net";
import { KEEP_ALIVE_MS, partsOf, ZmtpSocket } from "./zmtp-socket.ts";

/** How long to wait before a connection is tried again that was not made, in ms, up to half of it more or less: many wait for one broker. */
const RETRY_MS = 100;

/** All connections of this thread read into this: what is read is taken out at once. */
const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024);

export type DealerHandlers = {
  onMessage(frames: Buffer[]): void;
  /** The connection is gone: what was sent may be lost. */
  onDisconnected(): void;
};

/** A DEALER connected to one broker. A connection that was lost is never used again: close the socket and open another. */
export type DealerSocket = {
  /**
   * Never blocks and never throws. The frames belong to the socket from now on. Before there is a connection the last message alone is
   * kept, for nobody says anything but HELLO then.
   */
  send(frames: Uint8Array[]): void;
  /** `abandon` drops what is unsent; `graceful` gives it two seconds. */
  close(how: "abandon" | "graceful"): void;
};

/** Connects to `tcp://IP:PORT`, and tries again until there is a connection. */
export function openDealer(address: string, handlers: DealerHandlers): DealerSocket {
  return new Dealer(address, handlers);
}

class Dealer implements DealerSocket {
  readonly #address: string;
  readonly #handlers: DealerHandlers;
  #zmtp: ZmtpSocket;
  #early: Uint8Array[] | undefined;
  #retry: NodeJS.Timeout | undefined;

  constructor(address: string, handlers: DealerHandlers) {
    this.#address = address;
    this.#handlers = handlers;
    this.#zmtp = this.#connect();
  }

  send(frames: Uint8Array[]): void {
    if (!this.#zmtp.send(frames)) this.#early = frames;
  }

  close(how: "abandon" | "graceful"): void {
    clearTimeout(this.#retry);
    if (how === "graceful" && this.#zmtp.isReady) this.#zmtp.end();
    else this.#zmtp.abandon();
  }

  #connect(): ZmtpSocket {
    const socket = connect({
      ...partsOf(this.#address),
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
      onread: {
        buffer: READ_BUFFER,
        callback: (bytes) => {
          zmtp.receive(READ_BUFFER.subarray(0, bytes));
          return true;
        },
      },
    });
    const zmtp: ZmtpSocket = new ZmtpSocket(socket, "DEALER", {
      onReady: () => {
        if (this.#early !== undefined) zmtp.send(this.#early);
        this.#early = undefined;
      },
      onMessage: (frames) => this.#handlers.onMessage(frames),
      onClosed: () => {
        this.#retry = setTimeout(() => (this.#zmtp = this.#connect()), RETRY_MS * (0.5 + Math.random()));
        this.#handlers.onDisconnected();
      },
    });
    return zmtp;
  }
}

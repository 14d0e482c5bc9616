import { randomInt } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { performance } from "node:perf_hooks";
import { CLOSE_LINGER_MS, KEEP_ALIVE_MS, partsOf, ZmtpSocket } from "./zmtp-socket.ts";

/** What one turn may take with reading, in ms: what comes later is read in the next one, so that timers and answers get their turn. */
const TURN_MS = 2;

export type RouterHandlers = {
  /** `peer` names one connection, never a process: ten hex digits. Must not throw. */
  onMessage(peer: string, frames: Buffer[]): void;
  /** The connection is gone, or the peer is given up because it lets too much pile up. May come more than once, and from within `send`. */
  onGone(peer: string): void;
  /** Called when all that was there has been handled, and at the latest after each turn: the place to decide and to send. */
  onTurnEnd(): void;
};

/** A bound ROUTER socket. What is sent to a peer is queued for it in order, without a gap, or `onGone` is called. */
export type RouterSocket = {
  /** The bound address with the port that was really taken. */
  readonly address: string;
  /** Never blocks and never throws. The frames belong to the socket from now on. */
  send(peer: string, frames: Uint8Array[]): void;
  /**
   * Takes no new connection, waits up to CLOSE_LINGER_MS until every peer has gone, and closes the rest, which has as long again to take
   * what waits for it. What is left after that is dropped. So say goodbye before: a peer may lose what it is sent behind that.
   */
  close(): Promise<void>;
};

/**
 * Binds a ROUTER. `address` is `tcp://IP:PORT` with an IP literal; port 0 takes a free one.
 * @throws Error of node where it cannot be bound.
 */
export async function openRouter(address: string, handlers: RouterHandlers): Promise<RouterSocket> {
  const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS });
  const router = new Router(server, handlers);
  server.listen({ ...partsOf(address), backlog: 1024 });
  await once(server, "listening");
  // A connection that cannot be taken, for want of a file descriptor say, tries again.
  server.on("error", () => {});
  router.address = addressOf(server);
  return router;
}

/** Connections are numbered as libzmq does it: a zero octet, and four that begin anywhere. */
let connections = randomInt(2 ** 32);

function nextPeer(): string {
  connections = (connections + 1) >>> 0;
  return connections.toString(16).padStart(10, "0");
}

class Router implements RouterSocket {
  address = "";
  readonly #server: Server;
  readonly #handlers: RouterHandlers;
  readonly #peers = new Map<string, ZmtpSocket>();
  /** Those that are not read in this turn any more. */
  readonly #paused = new Set<Socket>();
  #hasTurn = false;
  #turnStartMs = 0;
  #isClosed = false;

  constructor(server: Server, handlers: RouterHandlers) {
    this.#server = server;
    this.#handlers = handlers;
    server.on("connection", (socket) => this.#accept(socket));
  }

  send(peer: string, frames: Uint8Array[]): void {
    if (this.#peers.get(peer)?.send(frames) !== true) this.#gone(peer);
  }

  async close(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    const linger = setTimeout(() => {
      for (const peer of this.#peers.values()) peer.end();
    }, CLOSE_LINGER_MS);
    await closed;
    clearTimeout(linger);
    this.#isClosed = true;
  }

  #accept(socket: Socket): void {
    const peer = nextPeer();
    const zmtp = new ZmtpSocket(socket, "ROUTER", {
      onReady: () => void this.#peers.set(peer, zmtp),
      onMessage: (frames) => this.#handlers.onMessage(peer, frames),
      onClosed: () => {
        this.#paused.delete(socket);
        this.#gone(peer);
      },
    });
    socket.on("data", (bytes: Buffer) => {
      this.#beginTurn();
      zmtp.receive(bytes);
      if (performance.now() - this.#turnStartMs < TURN_MS) return;
      socket.pause();
      this.#paused.add(socket);
    });
  }

  /** All that has come in one turn of the event loop is one turn. */
  #beginTurn(): void {
    if (this.#hasTurn) return;
    this.#hasTurn = true;
    this.#turnStartMs = performance.now();
    setImmediate(this.#endTurn);
  }

  readonly #endTurn = (): void => {
    this.#hasTurn = false;
    for (const socket of this.#paused) socket.resume();
    this.#paused.clear();
    this.#handlers.onTurnEnd();
  };

  #gone(peer: string): void {
    this.#peers.delete(peer);
    if (!this.#isClosed) this.#handlers.onGone(peer);
  }
}

function addressOf(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo;
  return `tcp://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}

import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { Router } from "zeromq";
import { receiveLoop } from "./receive-loop.ts";
import { CLOSE_LINGER_MS, DATA_SOCKET_OPTIONS, isEdge, notifyDisconnect } from "./socket-options.ts";

/** How long frames wait that a peer did not take at once (its queue was full) before they are offered again, in ms. */
const RETRY_EVERY_MS = 5;

/** What may wait for one peer beside libzmq's own queue; a peer that lets more pile up does not read and is given up. */
const WAITING_MESSAGES_MAX = 65_536;
const WAITING_BYTES_MAX = 256 * 1024 * 1024;

export type RouterHandlers = {
  /** `peer` is the connection's routing id in hex: it names one connection, never a process. Must not throw. */
  onMessage(peer: string, frames: Buffer[]): void;
  /**
   * The connection is gone, seen by the transport or by a send that found nobody, or it is given up: the peer lets too much
   * pile up, or the order of what it gets could not be kept. May come more than once, and from within `send`.
   */
  onGone(peer: string): void;
  onTurnEnd(): void;
};

/** A bound ROUTER socket. What is sent to a peer is queued for it in order, without a gap, or `onGone` is called. */
export type RouterSocket = {
  /** The bound address with the port that was really taken. */
  readonly address: string;
  /** Never blocks and never throws. The frames belong to the socket from now on. */
  send(peer: string, frames: Uint8Array[]): void;
  /**
   * Waits up to CLOSE_LINGER_MS until every peer has taken what waits for it and has gone, and closes; libzmq then has as long
   * again to send what it has taken. What is left after that is dropped. So say goodbye before: a peer whose connection is closed
   * under it loses what it has not read yet, the last answers among it.
   */
  close(): Promise<void>;
};

/** Binds a ROUTER. `address` is `tcp://IP:PORT` with an IP literal; port 0 takes a free one. */
export async function openRouter(address: string, handlers: RouterHandlers): Promise<RouterSocket> {
  const ipv6 = address.startsWith("tcp://[");
  const socket = new Router({ ...DATA_SOCKET_OPTIONS, ipv6, mandatory: true, backlog: 1024 });
  notifyDisconnect(socket);
  await socket.bind(address.replace(/:0$/, ":*"));
  const peers = new Peers(socket, handlers);
  const loop = receiveLoop(socket, {
    onMessage: ([id, ...frames]) => {
      if (id === undefined) return;
      const key = id.toString("hex");
      if (isEdge(frames)) return peers.gone(key);
      peers.add(key, id);
      handlers.onMessage(key, frames);
    },
    onTurnEnd: () => handlers.onTurnEnd(),
  });
  return {
    address: socket.lastEndpoint ?? address,
    send: (key, frames) => peers.send(key, frames),
    async close() {
      await peers.flush(CLOSE_LINGER_MS);
      if (socket.closed) return;
      socket.linger = CLOSE_LINGER_MS;
      socket.close();
      await loop;
    },
  };
}

type Peer = {
  readonly id: Buffer;
  /** Messages that were handed to the socket directly, ever. Stands still while anything waits. */
  handed: number;
  /** The number (by `handed`) of the last message in `failed`. */
  lastFailed: number;
  /** What the socket did not take, since the last retry. It comes before `waiting`. */
  failed: Uint8Array[][];
  /** What came up while something was waiting already. */
  waiting: Uint8Array[][];
  waitingBytes: number;
};

/**
 * The sending side: keeps the order of each peer. The socket takes or refuses a message at once but tells it a microtask later, so
 * that several may be handed over before the first refusal is known. They are numbered, and the numbers of those that were refused
 * tell whether one behind them was taken: then the order is broken and the peer is given up, which makes both sides start anew.
 * The usual path, where nothing is refused, costs a counter.
 */
class Peers {
  readonly #socket: Router;
  readonly #handlers: RouterHandlers;
  readonly #peers = new Map<string, Peer>();
  /** Those for which something waits. */
  readonly #blocked = new Set<string>();
  #retry: NodeJS.Timeout | undefined;

  constructor(socket: Router, handlers: RouterHandlers) {
    this.#socket = socket;
    this.#handlers = handlers;
  }

  add(key: string, id: Buffer): void {
    if (this.#peers.has(key)) return;
    const none = { handed: 0, lastFailed: 0, failed: [], waiting: [], waitingBytes: 0 };
    this.#peers.set(key, { id: Buffer.from(id), ...none });
  }

  gone(key: string): void {
    this.#peers.delete(key);
    this.#blocked.delete(key);
    this.#handlers.onGone(key);
  }

  send(key: string, frames: Uint8Array[]): void {
    if (this.#socket.closed) return;
    const peer = this.#peers.get(key);
    if (peer === undefined) return this.#handlers.onGone(key);
    if (peer.failed.length > 0 || peer.waiting.length > 0) return this.#wait(key, peer, frames);
    const number = ++peer.handed;
    this.#socket.send([peer.id, ...frames]).catch((error: NodeJS.ErrnoException) => {
      if (this.#socket.closed || this.#peers.get(key) !== peer) return;
      if (error.code !== "EAGAIN") return this.gone(key);
      if (peer.failed.length > 0 && number !== peer.lastFailed + 1) return this.gone(key);
      peer.failed.push(frames);
      peer.waitingBytes += bytesOf(frames);
      peer.lastFailed = number;
      this.#blocked.add(key);
      this.#retry ??= setInterval(() => this.#retryAll(), RETRY_EVERY_MS);
    });
  }

  /** Resolves when nothing waits and those who are here have gone, at the latest after `timeoutMs`; nothing is retried afterwards. */
  async flush(timeoutMs: number): Promise<void> {
    const untilMs = performance.now() + timeoutMs;
    // Those who come back meanwhile are not waited for.
    const here = [...this.#peers.keys()];
    const isBusy = (): boolean => this.#blocked.size > 0 || here.some((key) => this.#peers.has(key));
    // Not at once: the refusal of what was sent just now is not known yet.
    do await sleep(1);
    while (isBusy() && performance.now() < untilMs);
    clearInterval(this.#retry);
  }

  #wait(key: string, peer: Peer, frames: Uint8Array[]): void {
    peer.waiting.push(frames);
    peer.waitingBytes += bytesOf(frames);
    if (peer.waiting.length > WAITING_MESSAGES_MAX || peer.waitingBytes > WAITING_BYTES_MAX) this.gone(key);
  }

  #retryAll(): void {
    for (const key of this.#blocked) {
      const peer = this.#peers.get(key);
      if (peer === undefined) continue;
      // All refusals are known by now. The last one handed over was taken, behind one that was not.
      if (peer.failed.length > 0 && peer.lastFailed !== peer.handed) this.gone(key);
      else void this.#offer(key, peer);
    }
    if (this.#blocked.size > 0) return;
    clearInterval(this.#retry);
    this.#retry = undefined;
  }

  /** Offers what waits, one after the other, up to the first that is refused. */
  async #offer(key: string, peer: Peer): Promise<void> {
    if (peer.failed.length > 0) peer.waiting = peer.failed.concat(peer.waiting);
    peer.failed = [];
    let taken = 0;
    try {
      // What comes up meanwhile is put behind.
      for (; taken < peer.waiting.length; taken++) {
        const frames = peer.waiting[taken]!;
        await this.#socket.send([peer.id, ...frames]);
        if (this.#peers.get(key) !== peer) return;
        peer.waitingBytes -= bytesOf(frames);
      }
      this.#blocked.delete(key);
    } catch (error) {
      if (this.#socket.closed || this.#peers.get(key) !== peer) return;
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") return this.gone(key);
    } finally {
      peer.waiting.splice(0, taken);
    }
  }
}

function bytesOf(frames: readonly Uint8Array[]): number {
  return frames.reduce((sum, frame) => sum + frame.byteLength, 0);
}

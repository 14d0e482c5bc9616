import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** Answers by status; `none` counts connections that ended without one. */
export type Statuses = Map<string, number>;

const CONNECT_PACE = 50;

/** Parts in which the bytes of an interval are sent. */
const TURNS = 50;

function count(statuses: Statuses, status: string): void {
  statuses.set(status, (statuses.get(status) ?? 0) + 1);
}

function connectTo(url: string): Socket {
  const { hostname, port } = new URL(url);
  return connect({ host: hostname, port: Number(port), noDelay: true });
}

/** Clients that send a head at once and then a byte of their body now and then, and come again when they are sent away. */
export class TricklingClients implements AsyncDisposable {
  readonly statuses: Statuses = new Map();
  readonly #url: string;
  readonly #head: string;
  readonly #sockets = new Set<Socket>();
  readonly #timer: NodeJS.Timeout;
  #isOver = false;

  /** One byte of each is sent every `everyMs`, not of all at once. */
  constructor(url: string, path: string, everyMs: number) {
    this.#url = url;
    this.#head = `POST ${path} HTTP/1.1\r\nHost: slow\r\nContent-Length: 100000\r\n\r\n`;
    let turn = 0;
    this.#timer = setInterval(() => {
      let at = turn++;
      for (const socket of this.#sockets) if (at++ % TURNS === 0 && socket.writable) socket.write(" ");
    }, everyMs / TURNS);
  }

  /** Connects so many, a few at a time, and resolves when all have sent their head. */
  async start(clients: number): Promise<void> {
    for (let started = 0; started < clients; started++) {
      await new Promise<void>((resolve) => this.#connect(resolve));
      if (started % CONNECT_PACE === 0) await sleep(1);
    }
  }

  #connect(onConnect: () => void): void {
    const socket = connectTo(this.#url);
    let text = "";
    socket.on("connect", () => {
      if (this.#isOver) return void socket.destroy();
      this.#sockets.add(socket);
      socket.write(this.#head, () => onConnect());
    });
    socket.on("data", (chunk) => (text += chunk.toString("latin1")));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#sockets.delete(socket);
      onConnect();
      if (this.#isOver) return;
      count(this.statuses, /^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? "none");
      this.#connect(() => {});
    });
  }

  /** All go away. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    clearInterval(this.#timer);
    const closed = Array.from(this.#sockets, (socket) => new Promise((resolve) => socket.once("close", resolve)));
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(closed);
  }
}

/** A client that posts large bodies one after another over one connection, each as soon as the one before is answered. */
export class LargePoster implements AsyncDisposable {
  readonly statuses: Statuses = new Map();
  readonly #running: Promise<void>;
  readonly #socket: Socket;
  #isOver = false;
  #isClosed = false;
  #wake: () => void = () => {};

  constructor(url: string, path: string, bodies: readonly Uint8Array[]) {
    this.#socket = connectTo(url);
    this.#running = this.#run(path, bodies);
  }

  async #run(path: string, bodies: readonly Uint8Array[]): Promise<void> {
    const socket = this.#socket;
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      this.#wake();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#isClosed = true;
      this.#wake();
    });
    for (let i = 0; !this.#isOver && !this.#isClosed; i++) {
      const body = bodies[i % bodies.length]!;
      text = "";
      socket.write(`POST ${path} HTTP/1.1\r\nHost: large\r\nContent-Length: ${body.byteLength}\r\n\r\n`);
      socket.write(body);
      while (!this.#isClosed && !/\r\n\r\n.*\}$/s.test(text))
        await new Promise<void>((resolve) => (this.#wake = resolve));
      if (!this.#isOver) count(this.statuses, /^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? "none");
    }
  }

  /** Goes away in the middle of what it does. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    this.#socket.destroy();
    this.#wake();
    await this.#running;
  }
}

/** Bodies of 16 MiB that cost a JSON parser the most: nested as deep as they are long, and of values without end. */
export function largeBodies(bytes: number = 16 * 1024 * 1024): Uint8Array[] {
  const filled = (text: string): Uint8Array => Buffer.alloc(bytes, text);
  const ended = (start: string, text: string): Uint8Array => {
    const body = Buffer.alloc(bytes, text);
    body.write(start);
    body.write("1]}", bytes - 3);
    return body;
  };
  return [filled("["), ended('{"inputs":[', "1,"), filled('{"a":')];
}

import { connect, type Socket } from "node:net";

/** One answer as it came over the wire. `headers` has lower-case names; the last of several wins. */
export type RawAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
};

const EMPTY: Buffer = Buffer.alloc(0);
const TIMEOUT_MS = 20_000;

/** A TCP connection on which the test decides every byte. Reads answers that have a Content-Length, and 1xx ones. */
export class RawConnection implements Disposable {
  /** Resolves when the server has ended the connection, or it broke; tells whether it was reset. */
  readonly ended: Promise<{ readonly isReset: boolean }>;
  readonly #socket: Socket;
  #held: Buffer = EMPTY;
  #isOver = false;
  #wake: () => void = () => {};

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.#socket = connect({ host: hostname, port: Number(port), noDelay: true, allowHalfOpen: true });
    this.#socket.on("data", (chunk: Buffer) => {
      this.#held = Buffer.concat([this.#held, chunk]);
      this.#wake();
    });
    this.ended = new Promise((resolve) => {
      const end = (isReset: boolean): void => {
        this.#isOver = true;
        this.#wake();
        resolve({ isReset });
      };
      this.#socket.on("end", () => end(false));
      this.#socket.on("error", () => end(true));
      this.#socket.on("close", () => end(false));
    });
  }

  /** Writes bytes; resolves when the system has taken them or the connection is broken. */
  write(bytes: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => this.#socket.write(bytes, () => resolve()));
  }

  /** Says that nothing follows, and still reads. */
  finish(): void {
    this.#socket.end();
  }

  /** Goes away as a client does that is killed: nothing is read any more. */
  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  /** Everything that has come and was not read as an answer. */
  get rest(): string {
    return this.#held.toString("latin1");
  }

  /** The next answer. @throws Error where the connection ends before it is complete, or it takes longer than 20 s. */
  async answer(): Promise<RawAnswer> {
    const timer = setTimeout(() => this.#socket.destroy(new Error("no answer")), TIMEOUT_MS);
    try {
      for (;;) {
        const taken = this.#take();
        if (taken !== undefined) return taken;
        if (this.#isOver) throw new Error(`the connection ended before an answer was complete: ${this.rest}`);
        await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #take(): RawAnswer | undefined {
    const headEnd = this.#held.indexOf("\r\n\r\n");
    if (headEnd < 0) return undefined;
    const [statusLine = "", ...lines] = this.#held.toString("latin1", 0, headEnd).split("\r\n");
    const headers = Object.fromEntries(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(statusLine)?.[1]);
    const start = headEnd + 4;
    const end = start + (status < 200 ? 0 : Number(headers["content-length"]));
    if (!(end >= start)) throw new Error(`an answer without Content-Length: ${this.rest}`);
    if (this.#held.byteLength < end) return undefined;
    const body = this.#held.toString("utf8", start, end);
    this.#held = this.#held.subarray(end);
    return { status, headers, body };
  }
}

/** The bytes of a POST with a JSON body; `headers` are whole lines. */
export function postBytes(path: string, body: string, headers: readonly string[] = []): string {
  const lines = [
    "Host: test",
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...headers,
  ];
  return `POST ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n${body}`;
}

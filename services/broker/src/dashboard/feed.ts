import type { IncomingMessage, ServerResponse } from "node:http";
import type { SecondFrame, StartFrame } from "./frames.ts";

/** Pages that may be open at one time. */
const CLIENTS_MAX = 32;

/** Bytes that may wait for a client to read them. Who lets more pile up is dropped, and gets the whole when it comes back. */
const WAITING_BYTES_MAX = 1024 * 1024;

/** After this many ms a page that has lost its connection tries again. */
const RETRY_MS = 1_000;

/** Where frames come from. `model`: the name of the one that is looked at; undefined: all. */
export type FrameSource = {
  /** Changes when the line begins anew: the client then gets a new start. */
  lineOf(model: string | undefined): unknown;
  startFrame(model: string | undefined): StartFrame;
  /** `after`: the number of the newest log entry that the client has. */
  secondFrame(model: string | undefined, after: number): SecondFrame;
  /** The number of the newest log entry. */
  lastEntry(): number;
};

type Client = {
  readonly response: ServerResponse;
  readonly model: string | undefined;
  line: unknown;
  lastEntry: number;
};

/** Sends frames to the pages that are open, as server-sent events. Bounded: in clients, and in bytes that wait for each. */
export class Feed {
  readonly #source: FrameSource;
  readonly #clients = new Set<Client>();

  constructor(source: FrameSource) {
    this.#source = source;
  }

  get clients(): number {
    return this.#clients.size;
  }

  /** Answers `GET …/events[?model=NAME]`: a start at once, then a second each second. */
  readonly open = (request: IncomingMessage, response: ServerResponse): void => {
    if (this.#clients.size >= CLIENTS_MAX) {
      response.writeHead(503, { "content-type": "application/json", "retry-after": "5" });
      response.end(JSON.stringify({ error: `${CLIENTS_MAX} pages are open already`, code: "unavailable" }));
      return;
    }
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-accel-buffering": "no",
    });
    if (request.method === "HEAD") {
      response.end();
      return;
    }
    const client: Client = { response, model: modelOf(request.url ?? ""), line: undefined, lastEntry: 0 };
    this.#clients.add(client);
    response.on("close", () => this.#clients.delete(client));
    response.on("error", () => this.#clients.delete(client));
    response.write(`retry: ${RETRY_MS}\n\n`);
    this.#start(client);
  };

  /** Sends the newest second to everybody. */
  second(): void {
    // Pages that look at the same thing get the same bytes: with many workers they are not few.
    const bytes = new Map<string, Buffer>();
    for (const client of this.#clients) {
      if (client.response.writableLength > WAITING_BYTES_MAX) {
        this.#clients.delete(client);
        client.response.destroy();
      } else if (this.#source.lineOf(client.model) !== client.line) this.#start(client);
      else {
        const { model, lastEntry, response } = client;
        const key = JSON.stringify([model, lastEntry]);
        let same = bytes.get(key);
        if (same === undefined) bytes.set(key, (same = encode("second", this.#source.secondFrame(model, lastEntry))));
        client.lastEntry = this.#source.lastEntry();
        response.write(same);
      }
    }
  }

  #start(client: Client): void {
    client.line = this.#source.lineOf(client.model);
    client.lastEntry = this.#source.lastEntry();
    client.response.write(encode("start", this.#source.startFrame(client.model)));
  }
}

function encode(event: "start" | "second", frame: StartFrame | SecondFrame): Buffer {
  // JSON has no line breaks of its own, so that one data line holds it.
  return Buffer.from(`event: ${event}\ndata: ${JSON.stringify(frame)}\n\n`);
}

function modelOf(url: string): string | undefined {
  return new URLSearchParams(url.split("?", 2)[1] ?? "").get("model") ?? undefined;
}

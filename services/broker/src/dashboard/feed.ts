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
  /** Whether it has still to be sent the whole, before any second. */
  isNew: boolean;
};

/** The whole of one model as it was at the latest second, for everybody who asks before the next. */
type Start = { readonly bytes: Buffer; readonly line: unknown; readonly lastEntry: number };

/**
 * Sends frames to the pages that are open, as server-sent events. Bounded: in clients, in bytes that wait for each, and in time. A
 * start is some 100 kB and takes milliseconds to make, in which nothing is dispatched: one is sent a turn of the event loop, and it
 * is made once a second for each model that is looked at, however many pages come back together.
 */
export class Feed {
  readonly #source: FrameSource;
  readonly #clients = new Set<Client>();
  readonly #starts = new Map<string | undefined, Start>();
  #isStarting = false;

  constructor(source: FrameSource) {
    this.#source = source;
  }

  get clients(): number {
    return this.#clients.size;
  }

  /** Answers `GET …/events[?model=NAME]`: a start in one of the next turns, then a second each second. */
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
    const model = modelOf(request.url ?? "");
    const client: Client = { response, model, line: undefined, lastEntry: 0, isNew: true };
    this.#clients.add(client);
    response.on("close", () => this.#clients.delete(client));
    response.on("error", () => this.#clients.delete(client));
    response.write(`retry: ${RETRY_MS}\n\n`);
    this.#startSoon();
  };

  /** Sends the newest second to everybody. */
  second(): void {
    this.#starts.clear();
    // Pages that look at the same thing get the same bytes: with many workers they are not few.
    const bytes = new Map<string, Buffer>();
    for (const client of this.#clients) {
      if (client.response.writableLength > WAITING_BYTES_MAX) {
        this.#clients.delete(client);
        client.response.destroy();
      } else if (client.isNew || this.#source.lineOf(client.model) !== client.line) client.isNew = true;
      else {
        const { model, lastEntry, response } = client;
        const key = JSON.stringify([model, lastEntry]);
        let same = bytes.get(key);
        if (same === undefined) bytes.set(key, (same = encode("second", this.#source.secondFrame(model, lastEntry))));
        client.lastEntry = this.#source.lastEntry();
        response.write(same);
      }
    }
    this.#startSoon();
  }

  #startSoon(): void {
    if (this.#isStarting) return;
    this.#isStarting = true;
    setImmediate(() => {
      this.#isStarting = false;
      this.#startNext();
    });
  }

  /** Sends the whole to one of those who have not got it. */
  #startNext(): void {
    const client = this.#clients.values().find(({ isNew }) => isNew);
    if (client === undefined) return;
    const { bytes, line, lastEntry } = this.#startOf(client.model);
    Object.assign(client, { line, lastEntry, isNew: false });
    client.response.write(bytes);
    this.#startSoon();
  }

  #startOf(model: string | undefined): Start {
    const known = this.#starts.get(model);
    if (known !== undefined) return known;
    const source = this.#source;
    const bytes = encode("start", source.startFrame(model));
    const start = { bytes, line: source.lineOf(model), lastEntry: source.lastEntry() };
    // Names come from outside, and who has left may come again with others.
    if (this.#starts.size >= CLIENTS_MAX) this.#starts.clear();
    this.#starts.set(model, start);
    return start;
  }
}

function encode(event: "start" | "second", frame: StartFrame | SecondFrame): Buffer {
  // JSON has no line breaks of its own, so that one data line holds it.
  return Buffer.from(`event: ${event}\ndata: ${JSON.stringify(frame)}\n\n`);
}

function modelOf(url: string): string | undefined {
  return new URLSearchParams(url.split("?", 2)[1] ?? "").get("model") ?? undefined;
}

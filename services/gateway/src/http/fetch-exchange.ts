import { bodyTooLarge } from "./body-buffer.ts";
import type { Exchange } from "./exchange.ts";
import type { Refusal } from "./refusal.ts";
import { requestIdOf } from "./request-id.ts";

/** An exchange of web objects: what `app.request()` of tests makes, without a socket. */
export class FetchExchange implements Exchange {
  readonly receivedMs = performance.now();
  firstByteMs = this.receivedMs;
  readonly requestId: string;
  readonly response: Promise<Response>;
  readonly #request: Request;
  readonly #respond: (response: Response) => void;

  constructor(request: Request) {
    this.#request = request;
    this.requestId = requestIdOf(this.header("x-request-id"));
    const { promise, resolve } = Promise.withResolvers<Response>();
    this.response = promise;
    this.#respond = resolve;
  }

  get method(): string {
    return this.#request.method;
  }

  get path(): string {
    return new URL(this.#request.url).pathname;
  }

  header(name: string): string | undefined {
    return this.#request.headers.get(name) ?? undefined;
  }

  readBody(bytesMax: number, onBody: (body: Buffer | Refusal) => void): void {
    if (Number(this.header("content-length")) > bytesMax) return onBody(bodyTooLarge(bytesMax));
    void this.#request.arrayBuffer().then((bytes) => {
      this.firstByteMs = performance.now();
      onBody(bytes.byteLength > bytesMax ? bodyTooLarge(bytesMax) : Buffer.from(bytes));
    });
  }

  hold(): undefined {
    return undefined;
  }

  onGone(callback: () => void): void {
    this.#request.signal.addEventListener("abort", callback, { once: true });
  }

  send(status: number, headers: readonly string[], body: string | readonly Uint8Array[]): void {
    const lines = new Headers({ "content-type": "application/json", "x-request-id": this.requestId });
    for (let i = 0; i + 1 < headers.length; i += 2) lines.set(headers[i]!, headers[i + 1]!);
    const content = typeof body === "string" ? body : Buffer.concat(body);
    this.#respond(new Response(content, { status, headers: lines }));
  }
}

import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { type Answer, CheckFault, type Request } from "./messages.ts";

const TIMEOUT_MS = 30_000;
const ANSWER_BYTES_MAX = 256 * 1024 * 1024;

/** The server that is checked. */
export class Endpoint implements Disposable {
  readonly #url: URL;
  readonly #agent: HttpAgent;
  readonly #request: typeof httpRequest;

  /**
   * @param connections so many that are kept; 0: each request has one of its own, since some servers end theirs after a failure, and
   *   that is none of the next request.
   */
  constructor(url: URL, connections: number) {
    const isTls = url.protocol === "https:";
    this.#url = url;
    this.#agent = new (isTls ? HttpsAgent : HttpAgent)(
      connections === 0 ? { keepAlive: false } : { keepAlive: true, maxSockets: connections },
    );
    this.#request = isTls ? httpsRequest : httpRequest;
  }

  get(path: string): Promise<Answer> {
    return this.#send("GET", path, { body: Buffer.alloc(0), headers: {} });
  }

  post(path: string, request: Request): Promise<Answer> {
    return this.#send("POST", path, request);
  }

  /** @throws {CheckFault} where no answer comes. */
  #send(method: string, path: string, { body, headers }: Request): Promise<Answer> {
    const url = new URL(this.#url.pathname.replace(/\/$/, "") + path, this.#url);
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => reject(new CheckFault(`no answer: ${error.message || error.name}`));
      const sent = this.#request(
        url,
        {
          method,
          agent: this.#agent,
          signal: AbortSignal.timeout(TIMEOUT_MS),
          headers: method === "GET" ? headers : { ...headers, "content-length": body.length },
        },
        (response) => {
          const chunks: Buffer[] = [];
          let bytes = 0;
          response.on("data", (chunk: Buffer) => {
            bytes += chunk.length;
            if (bytes > ANSWER_BYTES_MAX) response.destroy(new Error("the answer is larger than 256 MiB"));
            else chunks.push(chunk);
          });
          response.on("end", () =>
            resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
          );
          response.on("error", fail);
        },
      );
      sent.on("error", fail);
      sent.end(method === "GET" ? undefined : body);
    });
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What a feature server knows: features by name, of each entity by its id. */
export type FeatureTable = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/**
 * A server of one feature view that speaks `POST /get-online-features` as the Python feature server of Feast 0.67 does: the join key is
 * the first of the columns, an entity that is not known is NOT_FOUND with null, whatever is wrong with a request is 422 as FastAPI has
 * it. Leaving its scope ends it.
 */
export class FeatureServer implements AsyncDisposable {
  readonly #server: Server;
  readonly view: string;
  readonly table: FeatureTable;
  /** Bodies of the requests so far, parsed. */
  readonly requests: unknown[] = [];
  /** Answers with this status, if it is not 200. */
  status = 200;
  /** Takes requests and never answers them. */
  isSilent = false;

  private constructor(server: Server, view: string, table: FeatureTable) {
    this.#server = server;
    this.view = view;
    this.table = table;
    server.on("request", (request, response) => void this.#answer(request, response));
  }

  static async start(view: string, table: FeatureTable): Promise<FeatureServer> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new FeatureServer(server, view, table);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = "";
    for await (const chunk of request) text += String(chunk);
    const send = (status: number, body: unknown): void => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    };
    if (request.method !== "POST" || request.url !== "/get-online-features") return send(404, { detail: "Not Found" });
    const body = JSON.parse(text) as { features?: readonly string[]; entities?: Record<string, readonly unknown[]> };
    this.requests.push(body);
    if (this.isSilent) return;
    if (this.status !== 200) return send(this.status, { detail: "told to" });
    const [entity, ...others] = Object.entries(body.entities ?? {});
    const isOurs = body.features?.every((feature) => feature.startsWith(`${this.view}:`)) ?? false;
    if (entity === undefined || others.length > 0 || !isOurs) return send(422, { detail: "not of this view" });
    const [joinKey, ids] = entity;
    const names = body.features?.map((feature) => feature.slice(this.view.length + 1)) ?? [];
    const column = (name: string): object => {
      const values = ids.map((id) => this.table[String(id)]?.[name] ?? null);
      const statuses = ids.map((id, i) => {
        if (this.table[String(id)] === undefined) return "NOT_FOUND";
        return values[i] === null ? "NULL_VALUE" : "PRESENT";
      });
      return { values, statuses, event_timestamps: ids.map(() => "2026-11-01T00:00:00Z") };
    };
    const key = {
      values: ids,
      statuses: ids.map(() => "PRESENT"),
      event_timestamps: ids.map(() => "1970-01-01T00:00:00Z"),
    };
    return send(200, { metadata: { feature_names: [joinKey, ...names] }, results: [key, ...names.map(column)] });
  }
}

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { OptionError } from "./options.ts";

/** Answers a request in whatever form it likes, at once or as a stream; what it throws before the head is written becomes 500. */
export type AdminHandler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;

/** A route's answer to what it cannot take, thrown by it: JSON `{"error", "code"}` with this status (400 to 499). */
export class AdminFault extends Error {
  override readonly name = "AdminFault";
  readonly status: number;
  readonly code: string;

  constructor(fault: { readonly status: number; readonly code: string; readonly text: string }) {
    super(fault.text);
    this.status = fault.status;
    this.code = fault.code;
  }
}

/** Whether a process can do its work, and if not, why. */
export type Readiness = { readonly ready: boolean; readonly reason?: string };

export type AdminServerOptions = {
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
  readonly isReady: () => Readiness;
  /** More GET routes: path → what to answer to a query as JSON (or a promise of it). */
  readonly routes?: Readonly<Record<string, (query: URLSearchParams) => unknown>>;
  /** GET routes that answer themselves: path → handler. */
  readonly handlers?: Readonly<Record<string, AdminHandler>>;
};

export type AdminServer = {
  /** `http://IP:PORT` with the port that was bound. */
  readonly address: string;
  /** Stops listening and ends every connection. */
  close(): Promise<void>;
};

/**
 * Starts the admin server of a process: `/livez` (200), `/readyz` (200 or 503, `{"ready", "reason"}`) and the given
 * routes. Answers GET and HEAD; everything else is JSON `{"error", "code"}` with 404 or 405, what an AdminFault says, and 500
 * where a route throws anything else.
 *
 * @throws {OptionError} that names host and port when they cannot be bound.
 */
export async function startAdminServer(options: AdminServerOptions): Promise<AdminServer> {
  const server = createServer((request, response) => void answer(options, request, response));
  server.requestTimeout = 10_000;
  await listen(server, options);
  const { address, family, port } = server.address() as AddressInfo;
  return {
    address: `http://${family === "IPv6" ? `[${address}]` : address}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, { host, port }: AdminServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      reject(new OptionError(`the admin server cannot listen on ${host}:${port}: ${error.message}`));
    });
    server.listen({ host, port }, resolve);
  });
}

async function answer(options: AdminServerOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
  const route = routeOf(options, path);
  if (route === undefined) {
    send(response, 404, { error: `no such route: ${path}`, code: "not_found" });
  } else if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("allow", "GET, HEAD");
    send(response, 405, { error: `${request.method} is not allowed here`, code: "method_not_allowed" });
  } else {
    try {
      await route(request, response);
    } catch (error) {
      if (response.headersSent) response.destroy();
      else if (error instanceof AdminFault) send(response, error.status, { error: error.message, code: error.code });
      else send(response, 500, { error: error instanceof Error ? error.message : String(error), code: "internal" });
    }
  }
}

function routeOf({ isReady, routes = {}, handlers = {} }: AdminServerOptions, path: string): AdminHandler | undefined {
  // Whoever answers is live, in a drain too.
  if (path === "/livez") return (_request, response) => send(response, 200, { live: true });
  if (path === "/readyz") {
    return (_request, response) => {
      const readiness = isReady();
      send(response, readiness.ready ? 200 : 503, readiness);
    };
  }
  const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
  if (route !== undefined) return async (request, response) => send(response, 200, await route(queryOf(request)));
  return Object.hasOwn(handlers, path) ? handlers[path] : undefined;
}

function queryOf({ url = "" }: IncomingMessage): URLSearchParams {
  const at = url.indexOf("?");
  return new URLSearchParams(at < 0 ? "" : url.slice(at + 1));
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const bytes = Buffer.from(JSON.stringify(body) ?? "null");
  response.writeHead(status, { "content-type": "application/json", "content-length": bytes.byteLength });
  response.end(bytes);
}

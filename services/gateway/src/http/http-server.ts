import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, Server as NetServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { getRequestListener } from "@hono/node-server";
import { ERROR_CODES } from "@millrace/protocol";
import { OptionError } from "@millrace/runtime";
import type { GatewayApp } from "../app.ts";
import type { GatewayOptions } from "../config.ts";
import { errorResponse, errorText } from "./error-response.ts";
import { corsHeaders, preflightHeaders } from "./cors.ts";
import { HotLane } from "./hot-lane.ts";
import { hotModel } from "./hot-route.ts";
import { isKnownHost } from "./known-host.ts";
import { type Edge, LINGER_MS, NodeExchange } from "./node-exchange.ts";
import { Refusal } from "./refusal.ts";
import { requestIdOf } from "./request-id.ts";
import { ArrivingBodies, ByteBound, NO_RATE } from "./socket-bounds.ts";

export type HttpServerOptions = Pick<
  GatewayOptions,
  | "host"
  | "port"
  | "keepAliveTimeoutMs"
  | "headersTimeoutMs"
  | "headerBytesMax"
  | "headerCountMax"
  | "requestTimeoutMsMax"
  | "jsonBytesMax"
  | "hotLane"
  | "corsOrigins"
>;

export type HttpServer = {
  /** `http://IP:PORT` with the port that was bound. */
  readonly address: string;
  /** A drain must end: what is still on its way in five seconds is answered with 408 instead of being waited for. */
  endSlowRequests(): void;
  /**
   * Stops accepting, ends idle connections, and resolves when the last connection has ended. Connections that are in use end
   * after their answer. Call it when answers already say `Connection: close` (isDraining), so that clients are not surprised.
   */
  drain(): Promise<void>;
  /** Ends everything at once, answered or not; idempotent. */
  close(): Promise<void>;
};

/** How often a drain looks for connections that have become idle, in milliseconds. */
const DRAIN_SWEEP_MS = 50;

/** How long requests that are on their way when a gateway begins to refuse may still take to arrive, in milliseconds. */
const DRAIN_ARRIVAL_MS = 5000;

/** Connections that may wait to be accepted: a burst of clients (the kernel's own limit holds as well). */
const LISTEN_BACKLOG = 4096;

/** How often node looks for requests that take too long to arrive, in milliseconds; its default of 30 s would be too coarse. */
const TIMEOUT_CHECK_MS = 1000;

/** How often slow bodies and idle connections are looked for, in milliseconds: often, as only a few bodies are ended at a time. */
const SLOW_CHECK_MS = 250;

/**
 * Serves an app over HTTP/1.1 and resolves when it listens.
 *
 * @throws {OptionError} that names host and port when they cannot be bound.
 */
export async function startHttpServer(app: GatewayApp, options: HttpServerOptions): Promise<HttpServer> {
  const listener = requestListener(app, options);
  const server = createServer(
    {
      keepAliveTimeout: options.keepAliveTimeoutMs,
      // Node starts this clock at the first byte of a head, not while a connection idles, so it may be shorter than keep-alive.
      headersTimeout: Math.min(options.headersTimeoutMs, options.requestTimeoutMsMax),
      requestTimeout: options.requestTimeoutMsMax,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      maxHeaderSize: options.headerBytesMax,
      noDelay: true,
      // The listener refuses a request without Host itself, since node's refusal is not JSON.
      requireHostHeader: false,
    },
    listener,
  );
  // "100 Continue" is sent when a body is first read, so that a refused upload never starts.
  server.on("checkContinue", listener);
  server.on("checkExpectation", (incoming: IncomingMessage, outgoing: ServerResponse) => {
    refuse(incoming, outgoing, { message: `expectation ${JSON.stringify(incoming.headers.expect)} is not known` });
  });
  // Node's own limit would drop lines without a word; the listener refuses.
  server.maxHeadersCount = 0;
  const lane = options.hotLane ? openLane(server, app, options) : undefined;
  const check = setInterval(() => {
    const nowMs = performance.now();
    app.endSlowBodies(nowMs);
    lane?.look(nowMs);
  }, SLOW_CHECK_MS);
  server.on("close", () => clearInterval(check));
  server.on("clientError", onClientError);
  // Node would end the connection without a word, and with it what is in flight on it.
  server.on("connect", (_incoming, socket: Duplex) => {
    socket.on("error", () => socket.destroy());
    onClientError(Object.assign(new Error("CONNECT is for proxies"), { code: "CONNECT" }), socket);
  });
  await listen(server, options);
  const { address, family, port } = server.address() as AddressInfo;
  return {
    address: `http://${family === "IPv6" ? `[${address}]` : address}:${port}`,
    endSlowRequests: () => {
      // Node looks at these every TIMEOUT_CHECK_MS. From then on a request has a second: it is told 503 anyway.
      const shorten = (): void => void (server.headersTimeout = server.requestTimeout = TIMEOUT_CHECK_MS);
      setTimeout(shorten, DRAIN_ARRIVAL_MS).unref();
    },
    drain: () => drain(server, lane),
    close: () => {
      const closed = drain(server, lane);
      server.closeAllConnections();
      lane?.closeAll();
      return closed;
    },
  };
}

/** Puts the lane in front of the server: connections come to it, and from it to the server's own listener. */
function openLane(server: Server, app: GatewayApp, options: HttpServerOptions): HotLane {
  const { headerBytesMax, headerCountMax, jsonBytesMax, keepAliveTimeoutMs } = options;
  const listeners = server.listeners("connection");
  const lane = new HotLane({
    edge: app.edge,
    limits: { headerBytesMax, headerCountMax, bodyBytesMax: jsonBytesMax },
    keepAliveTimeoutMs,
    serve: app.infer,
    handOver: (socket) => {
      for (const listener of listeners) listener.call(server, socket);
    },
  });
  server.removeAllListeners("connection").on("connection", (socket: Socket) => lane.take(socket));
  return lane;
}

type Listener = (incoming: IncomingMessage, outgoing: ServerResponse) => void;

/** Tells a browser whether a page of its origin may read the answer; true where that was all it asked, and it is answered. */
function tellOrigin(
  { headers, method }: IncomingMessage,
  outgoing: ServerResponse,
  origins: readonly string[],
): boolean {
  const told = corsHeaders(origins, headers.origin ?? "");
  const isPreflight = method === "OPTIONS" && headers["access-control-request-method"] !== undefined;
  if (isPreflight && told[0] !== "vary") {
    outgoing.writeHead(204, [...told, ...preflightHeaders(headers["access-control-request-headers"])]).end();
    return true;
  }
  for (let i = 0; i + 1 < told.length; i += 2) outgoing.setHeader(told[i]!, told[i + 1]!);
  return false;
}

function requestListener(app: GatewayApp, { headerCountMax, corsOrigins }: HttpServerOptions): Listener {
  // Of the request that the adapter makes a URL for, in this turn; undefined when it has.
  let unrouted: { readonly incoming: IncomingMessage; readonly outgoing: ServerResponse } | undefined;
  const routed: GatewayApp["fetch"] = (request, env) => {
    unrouted = undefined;
    return app.fetch(request, env);
  };
  const serve = getRequestListener(routed, {
    // HTTP/1.0 clients, among them old health checkers, send no Host.
    hostname: "localhost",
    // Global Request and Response stay as they are for everyone else in the process: our answers never pass through them.
    overrideGlobalObjects: false,
    // NodeExchange sees to bodies that nobody reads.
    autoCleanupIncoming: false,
    errorHandler: (error) => {
      if (unrouted === undefined) return answerDefect();
      const message = error instanceof Error ? error.message : String(error);
      const { incoming, outgoing } = unrouted;
      unrouted = undefined;
      refuse(incoming, outgoing, { message: `the request's target or Host: ${message}` });
      return undefined;
    },
  });
  return (incoming, outgoing) => {
    const { origin } = incoming.headers;
    if (origin !== undefined && corsOrigins.length > 0 && tellOrigin(incoming, outgoing, corsOrigins)) return;
    // Name, value, name, value.
    if (incoming.rawHeaders.length > 2 * headerCountMax) {
      refuse(incoming, outgoing, { status: 431, message: `there are more than ${headerCountMax} header lines` });
    } else if (incoming.headers.host === undefined && incoming.httpVersionMinor > 0) {
      refuse(incoming, outgoing, { message: "the header Host is missing" });
    } else {
      const isPlain =
        incoming.method === "POST" && (incoming.headers.host === undefined || isKnownHost(incoming.headers.host));
      const model = isPlain ? hotModel(incoming.url ?? "") : undefined;
      if (model === undefined) {
        unrouted = { incoming, outgoing };
        void serve(incoming, outgoing);
      } else app.infer(new NodeExchange(incoming, outgoing, app.edge), model);
    }
  };
}

/** Nothing of what never reaches a route is read, and its connection ends. */
const CLOSED_EDGE: Edge = {
  isClosing: () => true,
  bytes: new ByteBound(Infinity),
  arriving: new ArrivingBodies(NO_RATE),
  rate: NO_RATE,
};

/** Answers what never reaches a route, and ends the connection. */
function refuse(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  { status = 400, message }: { readonly status?: number; readonly message: string },
): void {
  new NodeExchange(incoming, outgoing, CLOSED_EDGE).send(status, [], errorText("invalid_request", message));
}

/** The app answers every error itself: this is one of ours. */
function answerDefect(): Response {
  const { status, body } = errorResponse(new Refusal("internal", ERROR_CODES.internal.meaning));
  const headers = { "content-type": "application/json", "x-request-id": requestIdOf(undefined), connection: "close" };
  return new Response(body, { status, headers });
}

/** What node's parser gives up on, by its error codes; everything else is 400. The error table has no codes of their own for them. */
const CLIENT_ERRORS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: "431 Request Header Fields Too Large",
  HPE_CHUNK_EXTENSIONS_OVERFLOW: "413 Payload Too Large",
  ERR_HTTP_REQUEST_TIMEOUT: "408 Request Timeout",
};

/** Connections that have had their error: what still comes of them is parsed, and fails, again. */
const failed = new WeakSet<Duplex>();

/** Bytes that are no HTTP request, or one that came too slowly: answered in JSON too, if the connection still can, and ended. */
function onClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (failed.has(socket)) return;
  failed.add(socket);
  answerClientError(error, socket);
}

function answerClientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  // The answer that the connection waits for; node keeps it on the socket.
  const current = (socket as { _httpMessage?: ServerResponse | null })._httpMessage;
  if (current?.req.complete === true && socket.writable) {
    // The requests before the bad bytes were accepted, and are answered first.
    current.once("close", () => answerClientError(error, socket));
    return;
  }
  if (error.code === "ECONNRESET" || !socket.writable || current?.headersSent === true) {
    socket.destroy();
    return;
  }
  const status = CLIENT_ERRORS[error.code ?? ""] ?? "400 Bad Request";
  const isSlow = error.code === "ERR_HTTP_REQUEST_TIMEOUT";
  const body = errorText(isSlow ? "too_slow" : "invalid_request", `not a request that can be read: ${error.message}`);
  const head =
    `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json\r\n` +
    `content-length: ${Buffer.byteLength(body)}\r\nx-request-id: ${requestIdOf(undefined)}\r\n\r\n`;
  socket.end(head + body);
  // What still comes is read and thrown away for a while: closing now would reset the connection, and take the answer with it.
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("end", () => socket.destroy());
  socket.once("close", () => clearTimeout(timer));
  socket.resume();
}

function listen(server: Server, { host, port }: HttpServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      reject(new OptionError(`HTTP cannot listen on ${host}:${port}: ${error.message}`));
    });
    server.listen({ host, port, backlog: LISTEN_BACKLOG }, resolve);
  });
}

function drain(server: Server, lane: HotLane | undefined): Promise<void> {
  return new Promise((resolve) => {
    const sweep = setInterval(() => {
      server.closeIdleConnections();
      lane?.closeIdle();
    }, DRAIN_SWEEP_MS);
    // Not the HTTP server's own: it also stops looking for heads that do not arrive, and these would hold the drain.
    NetServer.prototype.close.call(server, () => {
      clearInterval(sweep);
      server.close();
      resolve();
    });
  });
}

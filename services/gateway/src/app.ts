import type { IncomingMessage, ServerResponse } from "node:http";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { ERROR_CODES } from "@millrace/protocol";
import { type MetricsPage, parseTestDelay } from "@millrace/runtime";
import { type Context, Hono } from "hono";
import { RegExpRouter } from "hono/router/reg-exp-router";
import { type CallObserver, refuse } from "./call/call-end.ts";
import type { GatewayOptions } from "./config.ts";
import { DOCS_FILES, sendDocsFile } from "./routes/docs-page.ts";
import type { Exchange } from "./http/exchange.ts";
import { FetchExchange } from "./http/fetch-exchange.ts";
import { oipForm, plainForm, tfsForm } from "./forms/forms.ts";
import { sendLive, sendModelReady, sendReady } from "./routes/health-routes.ts";
import { type Door, serveInference } from "./call/inference-call.ts";
import type { Inference } from "./broker/inference.ts";
import {
  sendModelConfig,
  sendModelMetadata,
  sendRepositoryIndex,
  sendServerMetadata,
} from "./routes/metadata-routes.ts";
import { chooseModelName } from "./routes/model-choice.ts";
import { type Edge, NodeExchange } from "./http/node-exchange.ts";
import type { FormThreads } from "./form-threads/form-pool.ts";
import { openApiDocument } from "./openapi/document.ts";
import { DocumentText } from "./openapi/document-text.ts";
import { quote, Refusal } from "./http/refusal.ts";
import type { ApiKeys } from "./call/tenant-access.ts";
import { ArrivingBodies, ByteBound } from "./http/socket-bounds.ts";
import { sendStatistics } from "./routes/statistics-routes.ts";
import { nameBeforePredict, sendTfsStatus } from "./routes/tfs-routes.ts";
import { UNSUPPORTED_ROUTES } from "./routes/unsupported-routes.ts";

/** What the HTTP side of a gateway is made of. */
export type AppDeps = {
  readonly inference: Inference;
  readonly options: Pick<
    GatewayOptions,
    | "requestTimeoutMs"
    | "requestTimeoutMsMax"
    | "jsonBytesMax"
    | "inlineJsonBytesMax"
    | "bodyBytesMax"
    | "inFlightMax"
    | "inFlightBytesMax"
    | "answerBytesMax"
    | "bodyBytesPerSecondMin"
    | "bodyGraceMs"
    | "defaultModel"
    | "trustTenant"
    | "testDelay"
  >;
  /** Parses large bodies. */
  readonly formThreads: FormThreads;
  /** The version that the server's metadata tell. */
  readonly version: string;
  /** Whether answers say that their connection closes, and `/readyz` that nothing new may come. */
  readonly isDraining: () => boolean;
  /** Whether inference is refused with 503: in a drain, after its delay. */
  readonly isRefusing: () => boolean;
  /** Is told of every exception that ended a request: a defect of ours, to be logged. Never holds payloads. */
  readonly onDefect: (error: unknown, requestId?: string) => void;
  /** Who may ask for inference; undefined: everybody. */
  readonly apiKeys?: ApiKeys | undefined;
  /** Is also told of requests that no route serves. */
  readonly observer: CallObserver;
  /** What `/metrics` shows; undefined: there is no such route. */
  readonly metricsPage?: Pick<MetricsPage, "contentType" | "render"> | undefined;
};

/** What the node adapter passes beside a request; nothing in `app.request()`. */
type NodeBindings = { readonly incoming?: IncomingMessage; readonly outgoing?: ServerResponse };

type Env = { Bindings: NodeBindings };

/** The gateway's HTTP side: `fetch` serves the node adapter, `inFlight` counts the inference calls that are not answered yet. */
export type GatewayApp = Pick<Hono<Env>, "fetch" | "request"> & {
  readonly inFlight: () => number;
  /** Bytes that are held of bodies and answers. */
  readonly heldBytes: () => number;
  /** Ends bodies that come too slowly, as of a time on the clock of `performance.now()`: a few at a time: to be called a few times a second. */
  readonly endSlowBodies: (nowMs: number) => void;
  /** Every route, as `METHOD /path/:parameter`; `ALL` for those that refuse what is not supported. */
  readonly routes: readonly string[];
  /** Serves a request of the hot route, before Hono and its adapter, which would be a tenth of what the HTTP side costs. */
  readonly infer: (exchange: Exchange, model: string) => void;
  /** What exchanges of whoever calls `infer` share with all others. */
  readonly edge: Edge;
};

/** Slow bodies that are ended in one turn of the event loop. */
const SLOW_BODIES_AT_ONCE = 64;

/** Serves one request; `c` is for path parameters only. */
type Serve = (exchange: Exchange, c: Context<Env>) => void;

/**
 * Makes the routes of a gateway. Opens nothing. One handler a route and no middleware: Hono then calls it without a promise,
 * and answers over a socket are written on the node objects (see NodeExchange).
 */
export function createApp(deps: AppDeps): GatewayApp {
  const delays = parseTestDelay(deps.options.testDelay);
  const door: Door = {
    inference: deps.inference,
    limits: deps.options,
    formThreads: deps.formThreads,
    delays: delays.size === 0 ? undefined : delays,
    access: { keys: deps.apiKeys, isTrusting: deps.options.trustTenant },
    isRefusing: deps.isRefusing,
    onDefect: deps.onDefect,
    observer: deps.observer,
    inFlight: 0,
  };
  const edge: Edge = {
    isClosing: deps.isDraining,
    bytes: new ByteBound(deps.options.inFlightBytesMax),
    arriving: new ArrivingBodies(deps.options),
    rate: deps.options,
  };
  // This router refuses at start a set of routes that it cannot match with one regular expression.
  const app = new Hono<Env>({ router: new RegExpRouter() });
  const handler = (serve: Serve) => {
    return (c: Context<Env>): Response | Promise<Response> => {
      // Hono passes on what it is given: nothing, where app.request() is given no bindings.
      const { incoming, outgoing } = (c.env as NodeBindings | undefined) ?? {};
      if (incoming !== undefined && outgoing !== undefined) {
        serve(new NodeExchange(incoming, outgoing, edge), c);
        return RESPONSE_ALREADY_SENT;
      }
      const exchange = new FetchExchange(c.req.raw);
      serve(exchange, c);
      return exchange.response;
    };
  };
  for (const [path, serve] of getRoutes(deps)) app.get(path, handler(serve));
  for (const [path, serve] of postRoutes(deps, door)) app.post(path, handler(serve));
  for (const { path, feature } of UNSUPPORTED_ROUTES) {
    const refusal = new Refusal("unsupported", `${feature} is not supported`);
    app.all(
      path,
      handler((exchange) => refuse(exchange, refusal, deps)),
    );
  }
  const { metricsPage } = deps;
  if (metricsPage !== undefined) {
    app.get("/metrics", async () => {
      const headers = new Headers({ "content-type": metricsPage.contentType });
      if (deps.isDraining()) headers.set("connection", "close");
      return new Response(await metricsPage.render(), { headers });
    });
  }
  app.notFound(handler((exchange, c) => refuseRoute(exchange, c.req, { app, observer: deps.observer })));
  const sendDefect = handler((exchange) =>
    refuse(exchange, new Refusal("internal", ERROR_CODES.internal.meaning), deps),
  );
  app.onError((error, c) => {
    deps.onDefect(error);
    return sendDefect(c);
  });
  const infer = (exchange: Exchange, name: string): void => {
    try {
      serveInference(door, exchange, { form: oipForm, name, version: "" });
    } catch (error) {
      deps.onDefect(error, exchange.requestId);
      refuse(exchange, new Refusal("internal", ERROR_CODES.internal.meaning), deps);
    }
  };
  return {
    fetch: app.fetch,
    request: app.request,
    inFlight: () => door.inFlight,
    heldBytes: () => edge.bytes.held,
    endSlowBodies: (nowMs) => edge.arriving.end(nowMs, SLOW_BODIES_AT_ONCE),
    routes: app.routes.map(({ method, path }) => `${method} ${path}`),
    infer,
    edge,
  };
}

/** The routes of GET, which HEAD follows. */
function getRoutes(deps: AppDeps): readonly (readonly [string, Serve])[] {
  const { inference } = deps;
  const ready: Serve = (exchange) => sendReady(exchange, deps);
  const server: Serve = (exchange) => sendServerMetadata(exchange, deps.version);
  const status: Serve = (exchange, c) => sendTfsStatus(exchange, inference, modelIn(c));
  const model: Serve = (exchange, c) => sendModelMetadata(exchange, inference, modelIn(c));
  const config: Serve = (exchange, c) => sendModelConfig(exchange, inference, modelIn(c));
  const statistics: Serve = (exchange, c) => sendStatistics(exchange, inference, modelIn(c));
  const modelReady: Serve = (exchange, c) => sendModelReady(exchange, deps, modelIn(c));
  return [
    ["/livez", sendLive],
    ["/health", sendLive],
    ["/readyz", ready],
    ["/readiness", ready],
    ["/v1/models/:model", status],
    ["/v1/models/:model/versions/:version", status],
    ["/v2", server],
    ["/v2/", server],
    ["/v2/health/live", sendLive],
    ["/v2/health/ready", ready],
    ["/v2/models/:model", model],
    ["/v2/models/:model/versions/:version", model],
    ["/v2/models/:model/ready", modelReady],
    ["/v2/models/:model/versions/:version/ready", modelReady],
    ["/v2/models/:model/config", config],
    ["/v2/models/:model/versions/:version/config", config],
    ["/v2/models/:model/stats", statistics],
    ["/v2/models/:model/versions/:version/stats", statistics],
    ["/openapi.json", openApi(deps)],
    ...Object.keys(DOCS_FILES).map((path): [string, Serve] => [path, (exchange) => sendDocsFile(exchange, path)]),
  ];
}

function postRoutes({ inference, options }: AppDeps, door: Door): readonly (readonly [string, Serve])[] {
  const infer: Serve = (exchange, c) => serveInference(door, exchange, { form: oipForm, ...modelIn(c) });
  const predict: Serve = (exchange, c) => serveInference(door, exchange, { form: plainForm, ...modelIn(c) });
  const predictTfs = (exchange: Exchange, { part, model }: { part: string; model?: string }): void => {
    // A name alone is the path of its status.
    if (!part.includes(":")) {
      const refusal = new Refusal("method_not_allowed", `"POST" is not allowed here; it is for NAME:predict`);
      return refuse(exchange, refusal, { observer: door.observer, headers: ["allow", "GET, HEAD"] });
    }
    const named = nameBeforePredict(part);
    if (named instanceof Refusal) return refuse(exchange, named, door);
    const at = model === undefined ? { name: named, version: "" } : { name: model, version: named };
    serveInference(door, exchange, { form: tfsForm, ...at });
  };
  const predictUnnamed: Serve = (exchange) => {
    const name = chooseModelName(inference, options.defaultModel);
    serveInference(door, exchange, { form: plainForm, name, version: "" });
  };
  return [
    ["/v2/models/:model/infer", infer],
    ["/v2/models/:model/versions/:version/infer", infer],
    ["/predict", predictUnnamed],
    ["/predict/:model", predict],
    ["/v1/models/:verb", (exchange, c) => predictTfs(exchange, { part: c.req.param("verb") ?? "" })],
    [
      "/v1/models/:model/versions/:verb",
      (exchange, c) => predictTfs(exchange, { part: c.req.param("verb") ?? "", model: c.req.param("model") ?? "" }),
    ],
    ["/v2/repository/index", (exchange) => sendRepositoryIndex(exchange, inference)],
  ];
}

function modelIn(c: Context<Env>): { name: string; version: string } {
  return { name: c.req.param("model") ?? "", version: c.req.param("version") ?? "" };
}

function openApi({ inference, version, metricsPage, apiKeys }: AppDeps): Serve {
  const known = { version, hasMetrics: metricsPage !== undefined, hasKeys: apiKeys !== undefined };
  const text = new DocumentText((models) => JSON.stringify(openApiDocument({ ...known, models })));
  return (exchange) => exchange.send(200, [], text.of(inference.models.list()));
}

/** Two routes of TensorFlow Serving's have one pattern: a verb behind the name takes POST alone, a name without one GET alone. */
function tfsMethodRefused(path: string): "GET" | "POST" | undefined {
  if (!path.startsWith("/v1/models/")) return undefined;
  return path.lastIndexOf(":") > path.lastIndexOf("/") ? "GET" : "POST";
}

/** 405 where the path has routes of other methods, which the header `Allow` then names; else 404. */
function refuseRoute(
  exchange: Exchange,
  { method, path }: { readonly method: string; readonly path: string },
  { app, observer }: { readonly app: Hono<Env>; readonly observer: CallObserver },
): void {
  const allowed = ["GET", "POST"].filter((other) => {
    return app.router.match(other, path)[0].length > 0 && other !== tfsMethodRefused(path);
  });
  if (allowed.length === 0) return refuse(exchange, new Refusal("not_found", `no route ${quote(path)}`), { observer });
  if (allowed.includes("GET")) allowed.push("HEAD");
  const refusal = new Refusal("method_not_allowed", `${quote(method)} is not allowed here`);
  refuse(exchange, refusal, { observer, headers: ["allow", allowed.join(", ")] });
}

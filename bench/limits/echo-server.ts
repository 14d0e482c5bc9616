/**
 * A server without a model: reads each body and answers what the model would, as text that was written beforehand. What it costs is
 * HTTP, and with `parse` JSON and the copy of the data into a tensor too.
 *
 *     node bench/limits/echo-server.ts http|hono [parse]
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { Hono } from "hono";
import { RegExpRouter } from "hono/router/reg-exp-router";

const [stack = "http", parse] = process.argv.slice(2);
const numbers = Array.from({ length: 10 }, (_, i) => Math.fround(Math.abs(Math.sin(i)))).join(",");
const answer = Buffer.from(
  `{"model_name":"echo","model_version":"1","outputs":[{"name":"output","datatype":"FP32","shape":[1,10],"data":[${numbers}]}]}`,
);
const head = { "content-type": "application/json", "content-length": answer.byteLength };

type Body = { readonly inputs: readonly { readonly data: number[] }[] };
let rows = 0;

function echo(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
    // The tensor is used, so that nobody may leave it out.
    if (parse === "parse") rows += new Float32Array((JSON.parse(body.toString()) as Body).inputs[0]!.data).length;
    response.writeHead(200, head);
    response.end(answer);
  });
}

function honoListener(): (request: IncomingMessage, response: ServerResponse) => void {
  type Env = { Bindings: { readonly incoming: IncomingMessage; readonly outgoing: ServerResponse } };
  const app = new Hono<Env>({ router: new RegExpRouter() });
  app.post("/v2/models/:model/infer", (c) => {
    echo(c.env.incoming, c.env.outgoing);
    return RESPONSE_ALREADY_SENT;
  });
  const serve = getRequestListener(app.fetch, { overrideGlobalObjects: false, autoCleanupIncoming: false });
  return (request, response) => void serve(request, response);
}

const server = createServer({ noDelay: true, keepAliveTimeout: 75_000 }, stack === "hono" ? honoListener() : echo);
server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  const http = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  process.send?.({ type: "ready", addresses: { http } });
});
process.on("disconnect", () => process.exit(rows < 0 ? 1 : 0));

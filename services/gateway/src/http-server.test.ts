import { request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { createApp } from "./app.ts";
import type { GatewayOptions } from "./config.ts";
import { type HttpServer, startHttpServer } from "./http-server.ts";
import { echoOf, EchoInference, inferBody, testOptions, testParser } from "./testing.ts";

type Gateway = {
  readonly server: HttpServer;
  readonly port: number;
  readonly inference: EchoInference;
  readonly inFlight: () => number;
  readonly startDraining: () => void;
};

async function start(given: Partial<GatewayOptions> = {}): Promise<Gateway> {
  const inference = new EchoInference();
  const options = testOptions(given);
  let draining = false;
  const app = createApp({
    inference,
    options,
    parser: testParser,
    version: "0.0.0",
    isDraining: () => draining,
    isRefusing: () => draining,
    observer: { began: () => {}, ended: () => {} },
    onDefect: (error) => {
      throw error;
    },
  });
  const server = await startHttpServer(app, options);
  onTestFinished(() => server.close());
  const port = Number(new URL(server.address).port);
  return { server, port, inference, inFlight: app.inFlight, startDraining: () => void (draining = true) };
}

/** A client that writes bytes and collects what comes back. */
class Client {
  readonly socket: Socket;
  text = "";
  isClosed = false;

  constructor(port: number) {
    this.socket = connect(port, "127.0.0.1");
    this.socket.on("data", (chunk) => (this.text += chunk.toString("latin1")));
    this.socket.on("close", () => (this.isClosed = true));
    this.socket.on("error", () => {});
    onTestFinished(() => void this.socket.destroy());
  }

  write(...parts: (string | Uint8Array)[]): this {
    for (const part of parts) this.socket.write(part);
    return this;
  }

  /** The status codes of the answers so far. */
  get statuses(): readonly number[] {
    return [...this.text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => Number(match[1]));
  }

  /** Waits for so many answers (heads), the last one with its body. */
  async answers(count: number): Promise<readonly number[]> {
    await expect.poll(() => this.statuses.length, { timeout: 3000 }).toBe(count);
    await expect.poll(() => /[}\]]$/.test(this.text), { timeout: 3000 }).toBe(true);
    return this.statuses;
  }
}

function head(path: string, ...lines: string[]): string {
  return [`POST ${path} HTTP/1.1`, "Host: x", ...lines, "", ""].join("\r\n");
}

function inferRequest(body = inferBody()): string {
  return head("/v2/models/echo/infer", `Content-Length: ${Buffer.byteLength(body)}`) + body;
}

test("answers over one connection, one after another and pipelined, in their order", async () => {
  const { port } = await start();
  const client = new Client(port).write(inferRequest());
  expect(await client.answers(1)).toEqual([200]);
  const ids = ["a", "b", "c"];
  client.write(ids.map((id) => inferRequest(inferBody(undefined, { id }))).join("") + inferRequest("{"));
  expect(await client.answers(5)).toEqual([200, 200, 200, 200, 400]);
  expect([...client.text.matchAll(/"id":"(.)"/g)].map((match) => match[1])).toEqual(ids);
  expect(client.isClosed).toBe(false);
});

test("a body in pieces, chunked or not, is put together", async () => {
  const { port } = await start();
  const body = inferBody([1, 2, 3, 4], { id: "pieces ä" });
  const bytes = Buffer.from(body);
  const client = new Client(port).write(head("/v2/models/echo/infer", `Content-Length: ${bytes.byteLength}`));
  for (let at = 0; at < bytes.byteLength; at += 30) {
    client.write(bytes.subarray(at, at + 30));
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(await client.answers(1)).toEqual([200]);
  client.write(head("/v2/models/echo/infer", "Transfer-Encoding: chunked"));
  for (let at = 0; at < bytes.byteLength; at += 50) {
    const chunk = bytes.subarray(at, at + 50);
    client.write(`${chunk.byteLength.toString(16)}\r\n`, chunk, "\r\n");
  }
  client.write("0\r\n\r\n");
  expect(await client.answers(2)).toEqual([200, 200]);
  client.write(head("/v2/repository/index", "Transfer-Encoding: chunked"), "0\r\n\r\n");
  expect(await client.answers(3)).toEqual([200, 200, 200]);
  client.write(head("/v2/models/echo/infer", "Content-Length: 0"));
  expect(await client.answers(4)).toEqual([200, 200, 200, 400]);
});

test("a body beyond the limit is refused before it is sent, and the client sees 413 and not a reset", async () => {
  const { port, inference } = await start({ jsonBytesMax: 1024 });
  const large = 3 * 1024 * 1024;
  const client = new Client(port).write(head("/predict", `Content-Length: ${large}`));
  expect(await client.answers(1)).toEqual([413]);
  expect(client.text).toMatch(/connection: close/i);
  // A client that goes on sending is read on for a while.
  client.write(Buffer.alloc(large, 0x20));
  await expect.poll(() => client.isClosed).toBe(true);
  expect(client.text).toContain('"code":"body_too_large"');

  const chunked = new Client(port).write(head("/predict", "Transfer-Encoding: chunked"));
  for (let i = 0; i < 40; i++) chunked.write("400\r\n", Buffer.alloc(1024, 0x20), "\r\n");
  expect(await chunked.answers(1)).toEqual([413]);
  chunked.write("0\r\n\r\n");
  await expect.poll(() => chunked.isClosed).toBe(true);
  expect(inference.submitted).toBe(0);
});

test("node's own client sees the 413 while it still uploads", async () => {
  const { port } = await start({ jsonBytesMax: 1024 });
  const status = await new Promise((resolve, reject) => {
    const upload = httpRequest({ port, method: "POST", path: "/predict" }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    upload.on("error", reject);
    for (let i = 0; i < 64; i++) upload.write(Buffer.alloc(64 * 1024, 0x20));
    upload.end();
  });
  expect(status).toBe(413);
});

test("Expect: 100-continue gets its continue, or the refusal in its place", async () => {
  const { port } = await start({ jsonBytesMax: 1024 });
  const body = inferBody();
  const expecting = (path: string, length: number): string =>
    head(path, `Content-Length: ${length}`, "Expect: 100-continue");
  const client = new Client(port).write(expecting("/v2/models/echo/infer", body.length));
  await expect.poll(() => client.statuses).toEqual([100]);
  client.write(body);
  expect(await client.answers(2)).toEqual([100, 200]);

  expect(await new Client(port).write(expecting("/predict", 2048)).answers(1)).toEqual([413]);
  const lost = new Client(port).write(expecting("/nowhere", 10));
  expect(await lost.answers(1)).toEqual([404]);
  expect(lost.text).toMatch(/connection: close/i);
  const odd = new Client(port).write(head("/predict", "Content-Length: 1", "Expect: cake"));
  expect(await odd.answers(1)).toEqual([400]);
});

test("a small body that nobody reads does not cost the connection", async () => {
  const { port } = await start();
  const client = new Client(port).write(head("/nowhere", "Content-Length: 5"), "12345", inferRequest());
  expect(await client.answers(2)).toEqual([404, 200]);
});

test("a client that goes away is cancelled; an upload that breaks off ends quietly", async () => {
  const { port, inference, inFlight } = await start();
  inference.isManual = true;
  const client = new Client(port).write(inferRequest());
  await expect.poll(() => inference.pending.size).toBe(1);
  client.socket.destroy();
  await expect.poll(() => inference.cancelled).toEqual([1]);

  const broken = new Client(port).write(head("/predict", "Content-Length: 100"), "{");
  await expect.poll(inFlight).toBe(1);
  broken.socket.destroy();
  await expect.poll(inFlight).toBe(0);
  expect(inference.submitted).toBe(1);
});

test("both requests of a pipeline are cancelled with their client", async () => {
  const { port, inference, inFlight } = await start();
  inference.isManual = true;
  const client = new Client(port).write(inferRequest() + inferRequest());
  await expect.poll(() => inference.pending.size).toBe(2);
  client.socket.destroy();
  await expect.poll(() => inference.cancelled.length).toBe(2);
  expect(inFlight()).toBe(0);
});

test.each<[string, string, number]>([
  ["no HTTP", "GARBAGE\r\n\r\n", 400],
  ["a head beyond the limit", `GET / HTTP/1.1\r\nHost: x\r\nX-A: ${"a".repeat(20_000)}\r\n\r\n`, 431],
  ["two lengths", "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400],
  [
    "length and chunks",
    "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    400,
  ],
  ["no Host", "GET /livez HTTP/1.1\r\n\r\n", 400],
  ["a Host that is none", "GET /livez HTTP/1.1\r\nHost: a b\r\n\r\n", 400],
  ["a Host that is none, on the hot route", "POST /v2/models/m/infer HTTP/1.1\r\nHost: x@y\r\n\r\n", 400],
  ["a target that is none", "GET livez HTTP/1.1\r\nHost: x\r\n\r\n", 400],
])("%s is refused in JSON", async (_, bytes, status) => {
  const { port } = await start();
  const client = new Client(port).write(bytes);
  expect(await client.answers(1)).toEqual([status]);
  expect(client.text).toMatch(/content-type: application\/json/i);
  expect(client.text).toMatch(/x-request-id: /i);
  expect(JSON.parse(client.text.slice(client.text.indexOf("{")))).toEqual({
    error: expect.any(String) as string,
    code: "invalid_request",
  });
  await expect.poll(() => client.isClosed).toBe(true);
});

test("HTTP/1.0 without Host, HEAD, absolute targets", async () => {
  const { port } = await start();
  const old = new Client(port).write("GET /livez HTTP/1.0\r\n\r\n");
  expect(await old.answers(1)).toEqual([200]);
  const absolute = new Client(port).write("GET http://x/livez HTTP/1.1\r\nHost: x\r\n\r\n");
  expect(await absolute.answers(1)).toEqual([200]);
  const client = new Client(port).write("HEAD /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
  await expect.poll(() => client.text).toMatch(/^HTTP\/1\.1 200 OK\r\n[^{]*content-length: 14\r\n[^{]*\r\n\r\n$/);
});

test("a head that trickles in too slowly is told 408; an idle connection lives on", async () => {
  const { port } = await start({ headersTimeoutMs: 300, keepAliveTimeoutMs: 10_000 });
  const idle = new Client(port).write(inferRequest());
  await idle.answers(1);
  const slow = new Client(port).write("GET /livez HTTP/1.1\r\nHo");
  expect(await slow.answers(1)).toEqual([408]);
  idle.write(inferRequest());
  expect(await idle.answers(2)).toEqual([200, 200]);
});

test("a drain answers what is in flight, refuses what is new, then ends every connection", async () => {
  const { server, port, inference, startDraining } = await start();
  inference.isManual = true;
  const idle = new Client(port).write("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
  await idle.answers(1);
  const busy = new Client(port).write(inferRequest());
  await expect.poll(() => inference.pending.size).toBe(1);
  startDraining();
  const late = new Client(port).write(inferRequest());
  expect(await late.answers(1)).toEqual([503]);
  await expect.poll(() => late.isClosed).toBe(true);
  expect(late.text).toMatch(/connection: close\r\n/i);

  let isDrained = false;
  const drained = server.drain().then(() => (isDrained = true));
  await expect.poll(() => idle.isClosed).toBe(true);
  expect([busy.isClosed, isDrained]).toEqual([false, false]);
  const refused = new Client(port);
  await expect.poll(() => refused.isClosed).toBe(true);
  for (const { request, answer } of inference.pending.values()) answer(echoOf(request));
  expect(await busy.answers(1)).toEqual([200]);
  expect(busy.text).toMatch(/connection: close\r\n/i);
  await drained;
  expect(busy.isClosed || busy.socket.readyState).not.toBe("open");
});

test("an address that is taken is an error that names it", async () => {
  const { port } = await start();
  await expect(start({ port })).rejects.toThrow(`HTTP cannot listen on 127.0.0.1:${port}: `);
});

test("CONNECT is refused in JSON, after what was in flight on its connection", async () => {
  const { port } = await start();
  const client = new Client(port).write(`${inferRequest()}CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n`);
  expect(await client.answers(2)).toEqual([200, 400]);
  await expect.poll(() => client.isClosed).toBe(true);
});

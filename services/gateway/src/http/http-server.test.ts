import { request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { loadOptions } from "@millrace/runtime";
import { expect, onTestFinished, test } from "vitest";
import { createApp } from "../app.ts";
import { type GatewayOptions, OPTIONS } from "../config.ts";
import { type HttpServer, startHttpServer } from "./http-server.ts";
import { echoOf, EchoInference, inferBody, testOptions, testFormPool } from "../testing.ts";

type Gateway = {
  readonly server: HttpServer;
  readonly port: number;
  readonly inference: EchoInference;
  readonly inFlight: () => number;
  readonly heldBytes: () => number;
  readonly startDraining: () => void;
};

async function start(given: Partial<GatewayOptions> = {}): Promise<Gateway> {
  const inference = new EchoInference();
  const options = testOptions(given);
  let draining = false;
  const app = createApp({
    inference,
    options,
    formThreads: testFormPool,
    version: "0.0.0",
    isDraining: () => draining,
    isRefusing: () => draining,
    observer: { began: () => {}, ended: () => {} },
    metricsPage: { contentType: "text/plain", render: () => Promise.resolve("") },
    onDefect: (error) => {
      throw error;
    },
  });
  const server = await startHttpServer(app, options);
  onTestFinished(() => server.close());
  const port = Number(new URL(server.address).port);
  return {
    server,
    port,
    inference,
    inFlight: app.inFlight,
    heldBytes: app.heldBytes,
    startDraining: () => void (draining = true),
  };
}

/** An answer takes so long at most, in ms: the first that a thread has to do with waits for it to start, behind all else that runs. */
const ANSWER_MS = 15_000;

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
    await expect.poll(() => this.statuses.length, { timeout: ANSWER_MS }).toBe(count);
    await expect.poll(() => /[}\]]$/.test(this.text), { timeout: ANSWER_MS }).toBe(true);
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

/** Eight rows, whose answer is JSON of more than 200 bytes by the gateway's estimate. */
const LARGE_ANSWER = inferBody(
  Array.from({ length: 32 }, (_, i) => i),
  { id: "large" },
);

test("an answer that another thread writes comes before that of a later request of its connection", async () => {
  const { port, heldBytes } = await start({ inlineJsonBytesMax: 200 });
  const client = new Client(port).write(inferRequest(LARGE_ANSWER) + inferRequest(inferBody(undefined, { id: "s" })));
  expect(await client.answers(2)).toEqual([200, 200]);
  expect([...client.text.matchAll(/"id":"(\w+)"/g)].map((match) => match[1])).toEqual(["large", "s"]);
  await expect.poll(heldBytes).toBe(0);
});

test("an answer for which there is no room while a thread writes it is refused, and what it held is free", async () => {
  const { port, inference, heldBytes, inFlight } = await start({ inlineJsonBytesMax: 200, inFlightBytesMax: 1024 });
  inference.isManual = true;
  const waiting = new Client(port).write(inferRequest(inferBody([1, 2, 3, 4], { id: "x".repeat(600) })));
  await expect.poll(() => inference.pending.size, { timeout: ANSWER_MS }).toBe(1);
  inference.isManual = false;
  const crowded = new Client(port).write(inferRequest(LARGE_ANSWER));
  expect(await crowded.answers(1)).toEqual([429]);
  for (const { request, answer } of inference.pending.values()) answer(echoOf(request));
  expect(await waiting.answers(1)).toEqual([200]);
  await expect.poll(() => [heldBytes(), inFlight()]).toEqual([0, 0]);
  expect(await crowded.write(inferRequest(LARGE_ANSWER)).answers(2)).toEqual([429, 200]);
});

test("pages of origins that are allowed may ask and read, errors too; others are told nothing", async () => {
  const { port } = await start({ corsOrigins: ["https://page.example", "http://localhost:3000"] });
  const url = `http://127.0.0.1:${port}`;
  const path = `${url}/v2/models/echo/infer`;
  const headersOf = async (target: string, init: RequestInit): Promise<unknown[]> => {
    const { status, headers } = await fetch(target, init);
    return [
      status,
      headers.get("access-control-allow-origin"),
      headers.get("vary"),
      headers.get("x-request-id") !== null,
    ];
  };
  const from = (origin: string) => ({ headers: { origin } });
  const post = (origin: string, body = inferBody()) => ({ method: "POST", body, ...from(origin) });
  for (const origin of ["https://page.example", "http://localhost:3000"]) {
    expect(await headersOf(path, post(origin))).toEqual([200, origin, "origin", true]);
    expect(await headersOf(path, post(origin, "{"))).toEqual([400, origin, "origin", true]);
    expect(await headersOf(`${url}/v2`, from(origin))).toEqual([200, origin, "origin", true]);
    expect(await headersOf(`${url}/nowhere`, from(origin))).toEqual([404, origin, "origin", true]);
    expect((await headersOf(`${url}/metrics`, from(origin))).slice(0, 3)).toEqual([200, origin, "origin"]);
  }
  const long = inferBody(undefined, { id: "long".repeat(500) });
  const compressed = await headersOf(path, post("http://localhost:3000", long));
  expect(compressed).toEqual([200, "http://localhost:3000", "accept-encoding, origin", true]);
  for (const origin of ["https://page.example.evil", "http://localhost:3001", "null"]) {
    expect(await headersOf(path, post(origin))).toEqual([200, null, "origin", true]);
    const asking = { origin, "access-control-request-method": "POST" };
    const { status, headers } = await fetch(path, { method: "OPTIONS", headers: asking });
    expect([status, headers.get("access-control-allow-methods")]).toEqual([405, null]);
  }
  const asking = {
    origin: "https://page.example",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-request-timeout-ms",
  };
  const preflight = await fetch(path, { method: "OPTIONS", headers: asking });
  expect([preflight.status, await preflight.text()]).toEqual([204, ""]);
  const told = Object.fromEntries(preflight.headers);
  expect(told).toMatchObject({
    "access-control-allow-origin": "https://page.example",
    "access-control-allow-methods": "GET, HEAD, POST",
    "access-control-allow-headers": "authorization,content-type,x-request-timeout-ms",
    "access-control-max-age": "7200",
    vary: "origin",
  });
  expect(await headersOf(path, { method: "POST", body: inferBody() })).toEqual([200, null, null, true]);
});

test("any origin, where that is said; none, where nothing is", async () => {
  const everybody = await start({ corsOrigins: ["*"] });
  const nobody = await start();
  const allowed = async ({ port }: Gateway): Promise<unknown[]> => {
    const { headers } = await fetch(`http://127.0.0.1:${port}/v2/models/echo/infer`, {
      method: "POST",
      body: inferBody(),
      headers: { origin: "https://page.example" },
    });
    return ["access-control-allow-origin", "access-control-expose-headers", "vary"].map((name) => headers.get(name));
  };
  const exposed = "inference-header-content-length, retry-after, server-timing, x-request-id";
  expect(await allowed(everybody)).toEqual(["*", exposed, null]);
  expect(await allowed(nobody)).toEqual([null, null, null]);
});

test.each([
  "https://page.example/",
  "page.example",
  "https://Page.example",
  "https://a, b",
  "null",
  "ftp://a",
  "http://",
])("%s is no origin", (text) => {
  expect(() => loadOptions(OPTIONS, { env: { MILLRACE_CORS_ORIGINS: text }, argv: [] })).toThrow(/origins such as/);
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

test.each([
  {
    how: "before any route",
    isDraining: false,
    text: head("/predict", "Content-Length: 5").replace("Host: x\r\n", ""),
    status: 400,
  },
  {
    how: "for its Host",
    isDraining: false,
    text: head("/v2/models/echo/infer", "Content-Length: 5").replace("Host: x", "Host: a b"),
    status: 400,
  },
  {
    how: "for its target",
    isDraining: false,
    text: head("/a\\b", "Content-Length: 5"),
    status: 400,
  },
  { how: "by a drain", isDraining: true, text: head("/predict", "Content-Length: 5"), status: 503 },
])(
  "the last answer of a connection does not end it before the body that it refuses has come: refused $how",
  async ({ isDraining, text, status }) => {
    const { port, startDraining } = await start();
    if (isDraining) startDraining();
    const client = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    onTestFinished(() => void client.destroy());
    let isEnded = false;
    client.on("end", () => (isEnded = true));
    let answer = "";
    client.on("data", (chunk) => (answer += chunk.toString("latin1")));
    client.write(text);
    await expect.poll(() => answer).toContain(`HTTP/1.1 ${status}`);
    expect(answer).toMatch(/connection: close/i);
    // By the time that another connection has had its answer, an end of this one would be here.
    await new Client(port).write(head("/nowhere", "Content-Length: 0")).answers(1);
    // An end before the body has come would answer the body with a reset.
    expect(isEnded).toBe(false);
    client.write("12345");
    await expect.poll(() => isEnded).toBe(true);
  },
);

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

test("the answers before a Host that is none are given first, and its own has the request's id", async () => {
  const { port, inference } = await start();
  inference.isManual = true;
  const bad = "GET /livez HTTP/1.1\r\nHost: a b\r\nX-Request-Id: mine\r\n\r\n";
  const client = new Client(port).write(inferRequest() + bad);
  await expect.poll(() => inference.pending.size).toBe(1);
  for (const { request, answer } of inference.pending.values()) answer(echoOf(request));
  expect(await client.answers(2)).toEqual([200, 400]);
  expect(client.text.slice(client.text.indexOf("HTTP/1.1 400"))).toMatch(/\r\nx-request-id: mine\r\n/i);
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

test("bytes are bounded: by Content-Length before the body comes, in chunks as they come; nothing stays held", async () => {
  const { port, inference, heldBytes, inFlight } = await start({ inFlightBytesMax: 100_000 });
  inference.isManual = true;
  const waiting = new Client(port).write(inferRequest(inferBody([1, 2, 3, 4], { id: "x".repeat(60_000) })));
  await expect.poll(() => inference.pending.size).toBe(1);
  expect(heldBytes()).toBeGreaterThan(60_000);
  const told = new Client(port).write(head("/v2/models/echo/infer", "Content-Length: 50000"));
  expect(await told.answers(1)).toEqual([429]);
  expect(told.text).toMatch(/retry-after: 1\r\n/i);
  expect(told.text).toContain('"code":"queue_full"');
  const chunked = new Client(port).write(head("/predict", "Transfer-Encoding: chunked"));
  for (let i = 0; i < 50; i++) chunked.write("400\r\n", Buffer.alloc(1024, 0x20), "\r\n");
  expect(await chunked.answers(1)).toEqual([429]);
  expect(chunked.text).toMatch(/connection: close\r\n/i);
  const packed = gzipSync(inferBody([1, 2, 3, 4], { id: "x".repeat(60_000) }));
  const coded = ["Content-Encoding: gzip", `Content-Length: ${packed.byteLength}`];
  const expanded = new Client(port).write(head("/v2/models/echo/infer", ...coded), packed);
  expect(await expanded.answers(1)).toEqual([429]);
  const small = new Client(port).write(inferRequest());
  await expect.poll(() => inference.pending.size).toBe(2);
  const gone = new Client(port).write(head("/predict", "Content-Length: 30000"), Buffer.alloc(20_000, 0x20));
  await expect.poll(heldBytes).toBeGreaterThan(80_000);
  gone.socket.destroy();
  await expect.poll(heldBytes).toBeLessThan(70_000);
  waiting.socket.destroy();
  for (const { request, answer } of inference.pending.values()) answer(echoOf(request));
  expect(await small.answers(1)).toEqual([200]);
  await expect.poll(() => [heldBytes(), inFlight()]).toEqual([0, 0]);
});

test("bodies that expand at the same time are bounded together, while they do", async () => {
  const { port, heldBytes, inFlight } = await start({ inFlightBytesMax: 1024 * 1024 });
  const packed = gzipSync(Buffer.alloc(8 * 1024 * 1024, " "));
  const coded = ["Content-Encoding: gzip", `Content-Length: ${packed.byteLength}`];
  const before = process.memoryUsage().arrayBuffers;
  let most = 0;
  const watch = setInterval(() => (most = Math.max(most, process.memoryUsage().arrayBuffers - before)), 1);
  onTestFinished(() => clearInterval(watch));
  const clients = Array.from({ length: 30 }, () => new Client(port).write(head("/predict/echo", ...coded), packed));
  for (const client of clients) expect([400, 429]).toContain((await client.answers(1))[0]);
  // 240 MiB in all. One alone may have all that it needs.
  expect(most).toBeLessThan(64 * 1024 * 1024);
  await expect.poll(() => [heldBytes(), inFlight()]).toEqual([0, 0]);
});

test("clients that leave while their bodies expand leave nothing held", async () => {
  const { port, heldBytes, inFlight } = await start();
  const packed = gzipSync(Buffer.alloc(16 * 1024 * 1024, " "));
  const coded = ["Content-Encoding: gzip", `Content-Length: ${packed.byteLength}`];
  const clients = Array.from({ length: 10 }, () => new Client(port).write(head("/predict/echo", ...coded), packed));
  // More than came over the sockets: they expand.
  await expect.poll(heldBytes, { interval: 1 }).toBeGreaterThan(11 * packed.byteLength);
  for (const { socket } of clients) socket.destroy();
  await expect.poll(inFlight, { interval: 1 }).toBe(0);
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(heldBytes()).toBe(0);
});

test("an answer is held while it is compressed, and sent as it is where there is no room for that", async () => {
  const { port, inference, heldBytes, inFlight } = await start({ inFlightBytesMax: 100_000 });
  const body = inferBody([1, 2, 3, 4], { id: "x".repeat(30_000) });
  const coded = head("/v2/models/echo/infer", "Accept-Encoding: gzip", `Content-Length: ${body.length}`) + body;
  const alone = new Client(port).write(coded);
  await expect.poll(() => alone.text).toMatch(/content-encoding: gzip/i);
  inference.isManual = true;
  const waiting = new Client(port).write(inferRequest(inferBody([1, 2, 3, 4], { id: "x".repeat(60_000) })));
  await expect.poll(() => inference.pending.size).toBe(1);
  inference.isManual = false;
  const crowded = new Client(port).write(coded);
  expect(await crowded.answers(1)).toEqual([200]);
  expect(crowded.text).not.toMatch(/content-encoding/i);
  for (const { request, answer } of inference.pending.values()) answer(echoOf(request));
  expect(await waiting.answers(1)).toEqual([200]);
  await expect.poll(() => [heldBytes(), inFlight()]).toEqual([0, 0]);
});

test("a byte a second is ended with 408, also where the first never comes; who sends fast is not", async () => {
  const { port, inFlight, heldBytes } = await start({ bodyGraceMs: 500 });
  const silent = new Client(port).write(head("/predict", "Content-Length: 100"));
  const slow = new Client(port).write(head("/v2/models/echo/infer", "Transfer-Encoding: chunked"), "1\r\n{\r\n");
  const trickle = setInterval(() => slow.write("1\r\n \r\n"), 200);
  onTestFinished(() => clearInterval(trickle));
  const good = new Client(port).write(inferRequest());
  expect(await good.answers(1)).toEqual([200]);
  for (const client of [silent, slow]) {
    expect(await client.answers(1)).toEqual([408]);
    expect(client.text).toContain('"code":"too_slow"');
    expect(client.text).toMatch(/connection: close\r\n/i);
    // It is read on for a while, so that the client sees the answer.
    client.socket.end();
    await expect.poll(() => client.isClosed, { timeout: 4000 }).toBe(true);
  }
  expect([inFlight(), heldBytes()]).toEqual([0, 0]);
  good.write(inferRequest());
  expect(await good.answers(2)).toEqual([200, 200]);
});

test("an answer that its client does not take is held, counted, and given up", async () => {
  const { port, inference, heldBytes } = await start({ bodyGraceMs: 500, bodyBytesPerSecondMin: 100_000_000 });
  const values = new Float32Array(4_000_000).fill(1);
  const data = new Uint8Array(values.buffer);
  inference.respond = (request) => {
    const echo = echoOf(request);
    return echo.ok ? { ...echo, outputs: [{ name: "y", datatype: "FP32", shape: [1_000_000, 4], data }] } : echo;
  };
  const client = new Client(port);
  client.socket.pause();
  client.write(inferRequest());
  await expect.poll(heldBytes, { timeout: 10_000 }).toBeGreaterThan(values.length);
  await expect.poll(heldBytes, { timeout: 5000 }).toBe(0);
  client.socket.resume();
  await expect.poll(() => client.isClosed).toBe(true);
  expect(client.text.length).toBeLessThan(2 * values.length);
});

test("an answer beyond the limit is an error of the model, and the connection lives on", async () => {
  const { port } = await start({ answerBytesMax: 1024 });
  const values = (rows: number): number[] => Array.from({ length: 4 * rows }, () => 0.123456789);
  const client = new Client(port).write(inferRequest(inferBody(values(8), { id: "i".repeat(2000) })));
  expect(await client.answers(1)).toEqual([500]);
  expect(client.text).toContain('"code":"answer_too_large"');
  client.write(inferRequest(inferBody(values(1))));
  expect(await client.answers(2)).toEqual([500, 200]);
});

test("more header lines than the limit are refused, whole and at once", async () => {
  const { port } = await start();
  const lines = (count: number): string[] => Array.from({ length: count }, (_, i) => `x-${i}: 1`);
  const client = new Client(port).write(head("/v2/models/echo/infer", ...lines(97), `Content-Length: 2`), "{}");
  expect(await client.answers(1)).toEqual([400]);
  const many = new Client(port).write(head("/v2/models/echo/infer", ...lines(100), "Content-Length: 2"), "{}");
  expect(await many.answers(1)).toEqual([431]);
  await expect.poll(() => many.isClosed).toBe(true);
});

test("in a drain every answer says that its connection closes: errors, metrics, health", async () => {
  const { port, startDraining } = await start();
  startDraining();
  const requests = [
    "GET /livez",
    "GET /readyz",
    "GET /v2",
    "GET /metrics",
    "GET /nowhere",
    "PUT /predict",
    "POST /predict",
    "GET /v2/models/echo",
    "GET /v2/models/%zz",
    "POST /v2/models/echo/infer",
    "POST /v2/repository/index",
    "CONNECT x:1",
    "GET bad",
  ];
  for (const request of requests) {
    const client = new Client(port).write(`${request} HTTP/1.1\r\nHost: x\r\n\r\n`);
    await expect.poll(() => client.isClosed, { message: request }).toBe(true);
    expect(client.text, request).toMatch(/connection: close\r\n/i);
  }
});

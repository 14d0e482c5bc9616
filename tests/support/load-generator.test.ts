import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createNetServer, type AddressInfo, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { type LoadSource, loadTarget, runLoad, toPostBytes } from "./load-generator.ts";

async function listen(server: Server | ReturnType<typeof createNetServer>): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const serve = (listener: RequestListener): Promise<string> => listen(createServer(listener));

/** A server of raw bytes: `answer` gets the number of the request on its connection, from 0. */
function serveBytes(answer: (socket: Socket, request: number) => void): Promise<string> {
  return listen(
    createNetServer((socket) => {
      let requests = 0;
      socket.on("data", () => answer(socket, requests++));
      socket.on("error", () => {});
    }),
  );
}

type Counts = { sent: number; answers: [number, string][] };

function numbered(limit: number): LoadSource<number> & { readonly counts: Counts } {
  const counts: Counts = { sent: 0, answers: [] };
  return {
    counts,
    next: () => {
      if (counts.sent === limit) return undefined;
      const context = counts.sent++;
      return { bytes: toPostBytes("/echo", String(context)), context };
    },
    onAnswer: (context, { body }) => void counts.answers.push([context, body.toString()]),
  };
}

test("every request gets its own answer over kept connections", async () => {
  let connections = 0;
  const server = createServer((request, response) => {
    request.on("data", (chunk: Buffer) => response.end(chunk));
  });
  server.on("connection", () => connections++);
  const source = numbered(1000);
  const result = await runLoad({ urls: [await listen(server)], connections: 8, source });
  expect(result).toMatchObject({ answers: 1000, faults: 0, firstFaults: [], reconnects: 0 });
  expect(result.latencyMs.count).toBe(1000);
  expect(connections).toBe(8);
  expect(source.counts.answers.every(([context, body]) => body === String(context))).toBe(true);
});

test("the time ends it, and so does the signal; answers under way are awaited", async () => {
  const url = await serve((_request, response) => void setTimeout(() => response.end("x"), 20));
  const timed = await runLoad({ urls: [url], connections: 3, durationMs: 50, source: numbered(1e9) });
  expect(timed.answers % 3).toBe(0);
  expect(timed.answers).toBeGreaterThan(0);
  expect(timed.faults).toBe(0);
  const abort = new AbortController();
  const source = numbered(1e9);
  const next = source.next.bind(source);
  source.next = () => {
    if (source.counts.sent === 5) abort.abort();
    return next();
  };
  const aborted = await runLoad({ urls: [url], connections: 2, source, signal: abort.signal });
  expect(aborted.faults).toBe(0);
  expect(aborted.answers).toBe(source.counts.sent);
});

test("fewer requests than connections end too", async () => {
  const url = await serve((_request, response) => void response.end("x"));
  expect(await runLoad({ urls: [url], connections: 16, source: numbered(3) })).toMatchObject({ answers: 3, faults: 0 });
});

test("a doubled answer, a lost one and a broken connection are faults; the lane goes on", async () => {
  const answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
  const doubled = await serveBytes((socket, request) => socket.write(request === 1 ? answer + answer : answer));
  expect(await runLoad({ urls: [doubled], connections: 1, source: numbered(6) })).toMatchObject({
    faults: 3,
    answers: 3,
  });
  const lost = await serveBytes((socket, request) => void (request === 1 || socket.write(answer)));
  const result = await runLoad({ urls: [lost], connections: 1, source: numbered(3), answerTimeoutMs: 300 });
  expect(result).toMatchObject({ faults: 1, answers: 2, reconnects: 1 });
  expect(result.firstFaults[0]).toContain("no answer within");
  const broken = await serveBytes((socket, request) => void (request === 1 ? socket.destroy() : socket.write(answer)));
  expect(await runLoad({ urls: [broken], connections: 1, source: numbered(4) })).toMatchObject({
    faults: 2,
    answers: 2,
  });
});

test("a late second answer on an idle connection is a fault", async () => {
  const answer = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
  const url = await serveBytes((socket) => {
    socket.write(answer);
    setImmediate(() => socket.write(answer));
  });
  const result = await runLoad({ urls: [url], connections: 1, source: numbered(20) });
  expect(result.faults).toBeGreaterThan(0);
});

test("a server that says close is believed, without a fault", async () => {
  const url = await serve((_request, response) => void response.setHeader("connection", "close").end("x"));
  expect(await runLoad({ urls: [url], connections: 2, source: numbered(6) })).toMatchObject({ answers: 6, faults: 0 });
});

test("nobody there: it gives up", async () => {
  const server = createNetServer();
  const url = await listen(server);
  server.close();
  const result = await runLoad({ urls: [url], connections: 2, durationMs: 100, source: numbered(10) });
  expect(result.answers).toBe(0);
  expect(result.faults).toBeGreaterThan(1);
  expect(result.firstFaults[0]).toContain("ECONNREFUSED");
});

test.each(["http://10.0.0.1:80", "http://localhost:80", "https://127.0.0.1:80", "http://127.0.0.1", "http://[::1]:80"])(
  "no load goes to %s",
  (url) => expect(() => loadTarget(url, { canLeave: true })).toThrow(RangeError),
);

test("where nothing leads out of the network, load goes to any of its addresses", () => {
  expect(loadTarget("http://10.0.0.1:8000", { canLeave: false })).toEqual({ host: "10.0.0.1", port: 8000 });
  expect(() => loadTarget("http://somewhere:8000", { canLeave: false })).toThrow(RangeError);
});

test("connections rest between requests; one that is closed meanwhile is opened anew, without a fault", async () => {
  const server = createServer((_request, response) => void response.end("x"));
  server.keepAliveTimeout = 20;
  server.keepAliveTimeoutBuffer = 0;
  const url = await listen(server);
  const result = await runLoad({ urls: [url], connections: 1, thinkMs: 200, source: numbered(3) });
  expect(result).toMatchObject({ answers: 3, faults: 0, reconnects: 3 });
});

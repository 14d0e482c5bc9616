import { createServer, type RequestListener } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { type LoadSource, toPostBytes } from "./load-generator.ts";
import { runOpenLoad } from "./open-loop.ts";

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const answered: LoadSource<undefined> = {
  next: () => ({ bytes: toPostBytes("/", "x"), context: undefined }),
  onAnswer: () => {},
};

const burst = (requests: number): Float64Array => new Float64Array(requests);

test("requests leave at their times, and a slow answer delays none of them", async () => {
  const url = await serve((_request, response) => void setTimeout(() => response.end("x"), 100));
  const arrivalsMs = Float64Array.from({ length: 50 }, (_, i) => i);
  const options = { urls: [url], connections: 50, arrivalsMs, deadlineMs: 10_000, source: answered };
  const result = await runOpenLoad(options);
  expect(result).toMatchObject({ answers: 50, faults: 0, openLoop: { planned: 50, outcomes: { attained: 50 } } });
  expect(result.openLoop.okLatencyMs.p50).toBeGreaterThanOrEqual(99);
  // One after another would take five seconds.
  expect(result.elapsedMs).toBeLessThan(3_000);
  expect(result.elapsedMs).toBeGreaterThanOrEqual(148);
});

test("the start is told when the first request is due, not while connections open", async () => {
  let connections = 0;
  const server = createServer((_request, response) => void response.end("x")).on("connection", () => connections++);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const urls = [`http://127.0.0.1:${(server.address() as AddressInfo).port}`];
  const arrivalsMs = Float64Array.of(0, 100);
  const told: number[] = [];
  const source = { ...answered, next: () => (told.push(NaN), answered.next()) };
  await runOpenLoad({
    urls,
    connections: 50,
    arrivalsMs,
    deadlineMs: 10_000,
    source,
    onStart: () => void told.push(connections),
  });
  expect(told.filter((one) => !Number.isNaN(one))).toEqual([50]);
  expect(told.at(-1)).toBeNaN();
});

test("a latency counts from the scheduled time, and the wait for a connection is lag", async () => {
  const url = await serve((_request, response) => void setTimeout(() => response.end("x"), 50));
  const options = { urls: [url], connections: 1, arrivalsMs: burst(4), deadlineMs: 120, source: answered };
  const { openLoop } = await runOpenLoad(options);
  // One after another on one connection: about 50, 100, 150, 200 ms after they were due.
  expect(openLoop.outcomes.attained).toBeLessThanOrEqual(2);
  expect(openLoop.outcomes.late).toBeGreaterThanOrEqual(2);
  expect(openLoop.okLatencyMs.max).toBeGreaterThanOrEqual(199);
  expect(openLoop.lagMs.max).toBeGreaterThanOrEqual(149);
});

test("refusals, failures and broken connections are misses of their kind", async () => {
  let requests = 0;
  const url = await serve((request, response) => {
    const turn = requests++ % 4;
    response.statusCode = [200, 429, 500][turn] ?? 0;
    if (turn === 3) request.socket.destroy();
    else response.end("x");
  });
  const arrivalsMs = Float64Array.from({ length: 8 }, (_, i) => i * 20);
  const options = { urls: [url], connections: 4, arrivalsMs, deadlineMs: 10_000, source: answered };
  expect(await runOpenLoad(options)).toMatchObject({
    answers: 6,
    faults: 2,
    openLoop: { outcomes: { attained: 2, late: 0, shed: 2, failed: 4 }, attainedShare: 0.25 },
  });
});

test("connections take turns, those that were closed and opened again too", async () => {
  const requests = new Map<unknown, number>();
  const url = await serve((request, response) => {
    requests.set(request.socket, (requests.get(request.socket) ?? 0) + 1);
    response.end("x");
    // In its pause: what was free is lost, and comes again.
    if (requests.size === 3 && [...requests.values()].every((count) => count === 3)) {
      setTimeout(() => {
        for (const socket of requests.keys()) (socket as Socket).destroy();
      }, 50);
    }
  });
  const arrivalsMs = Float64Array.from({ length: 18 }, (_, i) => i * 20 + (i < 9 ? 0 : 400));
  const options = { urls: [url], connections: 3, arrivalsMs, deadlineMs: 10_000, source: answered };
  expect(await runOpenLoad(options)).toMatchObject({ answers: 18, faults: 0, reconnects: 3 });
  expect([...requests.values()]).toEqual([3, 3, 3, 3, 3, 3]);
});

test("more requests than the list of free connections holds", async () => {
  const url = await serve((_request, response) => void response.end("x"));
  const options = { urls: [url], connections: 2, arrivalsMs: burst(5_000), deadlineMs: 60_000, source: answered };
  expect(await runOpenLoad(options)).toMatchObject({ answers: 5_000, faults: 0, reconnects: 0 });
});

test("an abort ends it: what has left is awaited, the rest never leaves", async () => {
  const url = await serve((_request, response) => void setTimeout(() => response.end("x"), 20));
  const abort = new AbortController();
  const arrivalsMs = Float64Array.from({ length: 10 }, (_, i) => i * 60_000);
  const options = { urls: [url], connections: 2, arrivalsMs, deadlineMs: 10_000, source: answered };
  const load = runOpenLoad({ ...options, signal: abort.signal });
  await sleep(400);
  abort.abort();
  expect(await load).toMatchObject({ answers: 1, openLoop: { planned: 10, outcomes: { attained: 1, failed: 0 } } });
});

test("nobody answers: what left and what waits for a connection have failed", async () => {
  const url = await serve(() => {});
  const options = { urls: [url], connections: 1, arrivalsMs: burst(3), deadlineMs: 10, answerTimeoutMs: 300 };
  const { openLoop } = await runOpenLoad({ ...options, source: answered });
  expect(openLoop.outcomes).toEqual({ attained: 0, late: 0, shed: 0, failed: 3 });
});

test("nothing that has to leave is no load", async () => {
  const url = await serve((_request, response) => void response.end("x"));
  const options = { urls: [url], connections: 1, arrivalsMs: burst(0), deadlineMs: 10, source: answered };
  expect(await runOpenLoad(options)).toMatchObject({ answers: 0, openLoop: { planned: 0 } });
});

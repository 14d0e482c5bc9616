import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Feed } from "./feed.ts";
import type { SecondFrame, StartFrame } from "./frames.ts";

const FILLING = "x".repeat(64 * 1024);
let line: object = {};
const asked: (string | undefined)[] = [];

const feed = new Feed({
  lineOf: () => line,
  startFrame: (model) => {
    asked.push(model);
    return { broker: "b" } as unknown as StartFrame;
  },
  secondFrame: (_, after) => ({ after, filling: FILLING }) as unknown as SecondFrame,
  lastEntry: () => 7,
});
const server = createServer((request, response) => feed.open(request, response));

beforeAll(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve)));
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

const url = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;

/** Waits until the feed has so many clients: a client's end is told by its socket. */
async function clientsAre(count: number): Promise<void> {
  for (let i = 0; feed.clients !== count && i < 500; i++) await sleep(10);
  expect(feed.clients).toBe(count);
}

/** The names of the next events on a stream. */
async function readEvents(body: ReadableStream<Uint8Array>, count: number): Promise<string[]> {
  const reader = body.getReader();
  let text = "";
  while ((text.match(/\n\n/g) ?? []).length < count + 1) {
    const { value, done } = await reader.read();
    if (done) break;
    text += Buffer.from(value).toString();
  }
  reader.releaseLock();
  return [...text.matchAll(/^event: (\w+)/gm)].map(([, name = ""]) => name);
}

test("a client gets the whole at once, then each second; and the whole anew where the line begins anew", async () => {
  const abort = new AbortController();
  const response = await fetch(`${url()}?model=${encodeURIComponent("a/b&c")}`, { signal: abort.signal });
  expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  await clientsAre(1);
  feed.second();
  line = {};
  feed.second();
  expect(await readEvents(response.body!, 3)).toEqual(["start", "second", "start"]);
  expect(asked).toEqual(["a/b&c", "a/b&c"]);
  abort.abort();
  await clientsAre(0);
});

test("a client that does not read is dropped before much waits for it", async () => {
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.on("error", () => {});
  socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  socket.pause();
  await clientsAre(1);
  const before = process.memoryUsage();
  // Far more than the kernel's buffers and the bound together.
  for (let i = 0; i < 1_000 && feed.clients > 0; i++) {
    feed.second();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await clientsAre(0);
  const after = process.memoryUsage();
  expect(after.external + after.heapUsed - before.external - before.heapUsed).toBeLessThan(64 * 1024 * 1024);
  socket.destroy();
});

test("the number of clients is bounded, and the next one is told so", async () => {
  const abort = new AbortController();
  for (let i = 0; i < 32; i++) await fetch(url(), { signal: abort.signal });
  const refused = await fetch(url());
  expect([refused.status, await refused.json()]).toEqual([
    503,
    { error: "32 pages are open already", code: "unavailable" },
  ]);
  abort.abort();
  await clientsAre(0);
});

import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Feed } from "./feed.ts";
import type { SecondFrame, StartFrame } from "./frames.ts";

const FILLING = "x".repeat(64 * 1024);
let line: object | undefined = {};
const asked: (string | undefined)[] = [];
/** When each start was made, in turns of the event loop. */
const madeInTurn: number[] = [];
let turn = 0;

const feed = new Feed({
  lineOf: () => line,
  startFrame: (model) => {
    asked.push(model);
    madeInTurn.push(turn);
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

test("pages that come together share one start a model, and no two starts are made in one turn", async () => {
  feed.second();
  asked.length = 0;
  madeInTurn.length = 0;
  const abort = new AbortController();
  let counting = setImmediate(function count() {
    turn++;
    counting = setImmediate(count);
  });
  const names = Array.from({ length: 24 }, (_, i) => `m${i % 3}`);
  const pages = await Promise.all(names.map((name) => fetch(`${url()}?model=${name}`, { signal: abort.signal })));
  for (const { body } of pages) expect(await readEvents(body!, 1)).toEqual(["start"]);
  clearImmediate(counting);
  expect([asked.length, new Set(asked)]).toEqual([3, new Set(["m0", "m1", "m2"])]);
  expect(new Set(madeInTurn).size).toBe(3);
  feed.second();
  expect(await readEvents(pages[0]!.body!, 0)).toEqual(["second"]);
  abort.abort();
  await clientsAre(0);
});

test("a page that is not yet sent the whole is sent no second before it", async () => {
  const abort = new AbortController();
  // As of a model that is not known yet.
  line = undefined;
  const opened = once(server, "request");
  const page = fetch(url(), { signal: abort.signal });
  await opened;
  feed.second();
  expect(await readEvents((await page).body!, 1)).toEqual(["start"]);
  feed.second();
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
  // Whoever lets go of an answer that is not read ends its connection, whenever the collector comes by.
  const held: Response[] = [];
  for (let i = 0; i < 32; i++) held.push(await fetch(url(), { signal: abort.signal }));
  const refused = await fetch(url());
  expect([refused.status, await refused.json()]).toEqual([
    503,
    { error: "32 pages are open already", code: "unavailable" },
  ]);
  expect(held).toHaveLength(32);
  abort.abort();
  await clientsAre(0);
});

import { once } from "node:events";
import { Agent, type IncomingMessage, request as httpRequest } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import type { Exchange } from "./exchange.ts";
import { HotLane } from "./hot-lane.ts";
import type { Edge } from "./node-exchange.ts";
import { Refusal } from "./refusal.ts";
import { ArrivingBodies, ByteBound, NO_RATE, type RateBound } from "./socket-bounds.ts";

const KEEP_ALIVE_MS = 75_000;

type Served = { readonly exchange: Exchange; readonly model: string; readonly body: string };

/** A lane by itself: what it serves is answered by the test, what it hands over is collected. */
async function start({ rate = NO_RATE, bytesMax = 1_000_000 }: { rate?: RateBound; bytesMax?: number } = {}) {
  const served: Served[] = [];
  const gone: Exchange[] = [];
  const others: { socket: Socket; text: string; hasEnded: boolean }[] = [];
  const bytes = new ByteBound(bytesMax);
  let isClosing = false;
  const edge: Edge = { isClosing: () => isClosing, bytes, arriving: new ArrivingBodies(NO_RATE), rate };
  const lane = new HotLane({
    edge,
    limits: { headerBytesMax: 4096, headerCountMax: 20, bodyBytesMax: 100_000 },
    keepAliveTimeoutMs: KEEP_ALIVE_MS,
    serve: (exchange, model) => {
      exchange.onGone(() => gone.push(exchange));
      exchange.readBody(50_000, (body) => {
        if (body instanceof Refusal) exchange.send(413, [], body.message);
        else served.push({ exchange, model, body: body.toString() });
      });
    },
    handOver: (socket) => {
      const other = { socket, text: "", hasEnded: false };
      others.push(other);
      socket.on("data", (piece: Buffer) => (other.text += piece.toString("latin1")));
      socket.on("end", () => (other.hasEnded = true));
      socket.on("error", () => {});
    },
  });
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => lane.take(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    lane.closeAll();
    for (const { socket } of others) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const open = (): { socket: Socket; text: () => string; isClosed: () => boolean } => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    let text = "";
    let isClosed = false;
    socket.on("data", (piece) => (text += piece.toString()));
    socket.on("close", () => (isClosed = true));
    socket.on("error", () => {});
    onTestFinished(() => void socket.destroy());
    return { socket, text: () => text, isClosed: () => isClosed };
  };
  return { lane, served, gone, others, bytes, port, open, drain: () => (isClosing = true) };
}

function request(body: string, more = ""): string {
  return `POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${more}\r\n${body}`;
}

const ANSWER =
  /^HTTP\/1\.1 200 OK\r\ncontent-length: \d+\r\nx-request-id: [\w.:/+=@-]+\r\ncontent-type: application\/json\r\nDate: [^\r]+ GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=75\r\n\r\n/;

test("plain requests one after another stay in the lane, and nothing of them stays held", async () => {
  const { served, others, lane, bytes, open } = await start();
  const { socket, text } = open();
  for (let i = 0; i < 3; i++) {
    socket.write(request(`"${i}"`, `x-request-id: r${i}\r\n`));
    await expect.poll(() => served.length).toBe(i + 1);
    expect(bytes.held).toBe(3);
    expect(served[i]).toMatchObject({ model: "m", body: `"${i}"`, exchange: { requestId: `r${i}`, method: "POST" } });
    served[i]!.exchange.send(200, [], `{"a":"ä${i}"}`);
    await expect.poll(text).toContain(`{"a":"ä${i}"}`);
  }
  expect(text()).toMatch(ANSWER);
  expect([others.length, lane.connections.size, bytes.held]).toEqual([0, 1, 0]);
  // A second answer is nobody's.
  served[2]!.exchange.send(200, [], "{}");
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(text().match(/HTTP/g)).toHaveLength(3);
});

test("node's clients, old and new, stay in the lane", async () => {
  const { served, others, port } = await start();
  const url = `http://127.0.0.1:${port}/v2/models/m/infer`;
  const agent = new Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  const answerNext = async (count: number): Promise<void> => {
    await expect.poll(() => served.length).toBe(count);
    served[count - 1]!.exchange.send(200, [], `{"n":${count}}`);
  };
  for (const count of [1, 2]) {
    const answer = fetch(url, { method: "POST", body: "{}" });
    await answerNext(count);
    expect(await (await answer).json()).toEqual({ n: count });
  }
  for (const count of [3, 4]) {
    // Head and body in writes of their own.
    const upload = httpRequest(url, { agent, method: "POST", headers: { "content-length": 3 } });
    const answer = once(upload, "response") as Promise<[IncomingMessage]>;
    upload.flushHeaders();
    upload.end("[1]");
    await answerNext(count);
    const [incoming] = await answer;
    expect(await incoming.toArray()).toEqual([Buffer.from(`{"n":${count}}`)]);
  }
  expect(served.map(({ body }) => body)).toEqual(["{}", "{}", "[1]", "[1]"]);
  expect(others).toEqual([]);
});

test("bytes of several parts, and headers, are written as they are", async () => {
  const { served, open } = await start();
  const { socket, text } = open();
  socket.write(request("{}"));
  await expect.poll(() => served.length).toBe(1);
  served[0]!.exchange.send(500, ["content-type", "x/y"], [Buffer.from("ab"), Buffer.from("cd")]);
  await expect
    .poll(text)
    .toMatch(
      /^HTTP\/1\.1 500 Internal Server Error\r\ncontent-length: 4\r\n[^]*content-type: x\/y\r\n[^]*\r\n\r\nabcd$/,
    );
});

test("what is not plain goes over with its connection and all its bytes", async () => {
  const { served, others, lane, bytes, open } = await start();
  const { socket } = open();
  const odd = `${request("{}")}GET / HTTP/1.1\r\n`;
  socket.write(odd);
  await expect.poll(() => others[0]?.text).toBe(odd);
  socket.write(request("{}"));
  await expect.poll(() => others[0]?.text).toBe(odd + request("{}"));
  expect([served.length, lane.connections.size, bytes.held]).toEqual([0, 0, 0]);
});

test("a body behind its head is taken; a third piece, and a piece that does not come, are for node", async () => {
  const { served, others, lane, bytes, open } = await start();
  const body = "[1,2]";
  const head = request(body).slice(0, -body.length);
  const two = open();
  two.socket.write(head);
  await expect.poll(() => bytes.held).toBe(head.length);
  two.socket.write(body);
  await expect.poll(() => served.map((one) => one.body)).toEqual([body]);
  expect(served[0]!.exchange.firstByteMs).toBeGreaterThan(served[0]!.exchange.receivedMs);
  expect(bytes.held).toBe(body.length);

  const three = open();
  three.socket.write(head);
  await expect.poll(() => bytes.held).toBe(body.length + head.length);
  three.socket.write("[1");
  await expect.poll(() => others[0]?.text).toBe(`${head}[1`);

  const late = open();
  late.socket.write(head);
  await expect.poll(() => bytes.held).toBe(body.length + head.length);
  lane.look(performance.now());
  expect(others).toHaveLength(1);
  lane.look(performance.now() + 300);
  await expect.poll(() => others[1]?.text).toBe(head);

  const cut = open();
  cut.socket.end(head);
  await expect.poll(() => others[2]).toMatchObject({ text: head, hasEnded: true });
  expect(bytes.held).toBe(body.length);
});

test("a first piece for which there is no room is for node to refuse", async () => {
  const { others, bytes, open } = await start({ bytesMax: 50 });
  bytes.held = 10;
  open().socket.write(request("[1,2]").slice(0, -5));
  await expect.poll(() => others.length).toBe(1);
  expect(bytes.held).toBe(10);
});

test("what comes behind a request is node's once that is answered", async () => {
  const { served, others, bytes, open } = await start();
  const { socket, text } = open();
  socket.write(request("{}"));
  await expect.poll(() => served.length).toBe(1);
  socket.write("GET /a");
  await expect.poll(() => bytes.held).toBe(2 + 6);
  socket.end(" HTTP/1.1\r\n");
  await expect.poll(() => bytes.held).toBe(2 + 17);
  expect(others).toEqual([]);
  served[0]!.exchange.send(200, [], "{}");
  expect(others).toMatchObject([{ text: "GET /a HTTP/1.1\r\n" }]);
  await expect.poll(() => others[0]!.hasEnded).toBe(true);
  await expect.poll(text).toMatch(/\{\}$/);
  expect(bytes.held).toBe(0);
});

/** What the lane keeps of one connection at most, in bytes: 64 KiB, or less and the next piece of at most 64 KiB. */
const KEPT_BYTES_MAX = 128 * 1024;

/** What node reads ahead of a connection that is paused, in bytes: less than its mark of 64 KiB, and a piece. */
const AHEAD_BYTES_MAX = 128 * 1024;

/** The most bytes that are held from now on, beyond those that are. */
function watchHeld(bytes: ByteBound): () => number {
  const before = bytes.held;
  let held = before;
  let most = 0;
  Object.defineProperty(bytes, "held", {
    get: () => held,
    set: (to: number) => {
      held = to;
      most = Math.max(most, to - before);
    },
  });
  return () => most;
}

/** Writes a piece so often, each to be read by itself, until the other side takes no more; the most that node read ahead meanwhile. */
async function flood(socket: Socket, { lane, piece, times }: { lane: HotLane; piece: string; times: number }) {
  let ahead = 0;
  for (let i = 0; i < times; i++) {
    const isTaken = socket.write(piece);
    const drained = isTaken || (await Promise.race([once(socket, "drain"), sleep(300, "stuck")])) !== "stuck";
    await new Promise(setImmediate);
    for (const { socket: own } of lane.connections) ahead = Math.max(ahead, own.readableLength);
    if (!drained) break;
  }
  return ahead;
}

const LONG = request("x".repeat(60_000));
const HUGE = request("x".repeat(90_000));

test.each<{ readonly what: string; readonly first: string; readonly piece: string; readonly kept: number }>([
  { what: "a head without an end", first: LONG.slice(0, 40), piece: `X-A: ${"a".repeat(900)}\r\n`, kept: 0 },
  { what: "a large head", first: request("{}", `X-A: ${"a".repeat(5_000)}\r\n`), piece: "x", kept: 0 },
  { what: "a large body", first: HUGE.slice(0, -90_000), piece: "x".repeat(900), kept: 0 },
  { what: "a body in small pieces", first: LONG.slice(0, -60_000), piece: "x", kept: LONG.length - 60_000 },
  { what: "a body all but its end", first: LONG.slice(0, -1), piece: "", kept: LONG.length - 1 },
])("of a slow client the lane keeps one piece at most: $what", async ({ first, piece, kept }) => {
  const { lane, others, bytes, open } = await start({ bytesMax: 1e9 });
  const { socket } = open();
  const peak = watchHeld(bytes);
  socket.write(first);
  await expect.poll(() => bytes.held + others.length).toBeGreaterThan(0);
  await flood(socket, { lane, piece, times: 300 });
  expect(peak()).toBe(kept);
});

test.each([
  { state: "waits", pieceBytes: 1_000 },
  { state: "waits", pieceBytes: 65_000 },
  { state: "is not taken", pieceBytes: 1_000 },
  { state: "is not taken", pieceBytes: 65_000 },
])(
  "whoever sends on behind a request whose answer $state is not read on and on: pieces of $pieceBytes bytes",
  async ({ state, pieceBytes }) => {
    const { lane, served, others, bytes, open } = await start({ bytesMax: 1e9 });
    const { socket } = open();
    socket.write(request("{}"));
    await expect.poll(() => served.length).toBe(1);
    if (state === "is not taken") {
      socket.pause();
      served[0]!.exchange.send(200, [], JSON.stringify("x".repeat(20_000_000)));
    }
    const peak = watchHeld(bytes);
    const ahead = await flood(socket, { lane, piece: "x".repeat(pieceBytes), times: 400 });
    expect(peak()).toBeGreaterThan(64 * 1024);
    expect(peak()).toBeLessThanOrEqual(KEPT_BYTES_MAX);
    expect(ahead).toBeLessThanOrEqual(AHEAD_BYTES_MAX);
    expect(others).toEqual([]);
    // Nothing of it is lost.
    socket.resume();
    if (state === "waits") served[0]!.exchange.send(200, [], "{}");
    const sent = socket.bytesWritten - request("{}").length;
    await expect.poll(() => others[0]?.text.length, { timeout: 5_000 }).toBe(sent);
    expect(bytes.held).toBe(0);
  },
);

test("a client that goes away, or ends its side, is told of once; its answer is nobody's", async () => {
  const { served, gone, lane, bytes, open } = await start();
  for (const leave of ["destroy", "end"] as const) {
    const { socket } = open();
    socket.write(request("{}"));
    await expect.poll(() => served.length).toBe(1);
    socket[leave]();
    await expect.poll(() => gone.length).toBe(1);
    served[0]!.exchange.send(200, [], "{}");
    expect(gone).toEqual([served[0]!.exchange]);
    expect([lane.connections.size, bytes.held]).toEqual([0, 0]);
    served.length = gone.length = 0;
  }
});

test("an answer that is not taken is held, and given up; what follows waits for it", async () => {
  const { served, others, bytes, open } = await start({ rate: { bodyBytesPerSecondMin: 1e9, bodyGraceMs: 1500 } });
  const answer = JSON.stringify("x".repeat(20_000_000));
  const slow = open();
  slow.socket.pause();
  slow.socket.write(request("{}"));
  await expect.poll(() => served.length).toBe(1);
  served[0]!.exchange.send(200, [], answer);
  expect(bytes.held).toBe(answer.length);
  slow.socket.write("more");
  await expect.poll(() => bytes.held).toBe(answer.length + 4);
  await expect.poll(() => bytes.held, { timeout: 10_000 }).toBe(0);
  expect(others).toEqual([]);
  slow.socket.resume();
  await expect.poll(slow.isClosed).toBe(true);
  expect(slow.text().length).toBeLessThan(answer.length);

  const good = open();
  good.socket.write(request("{}"));
  await expect.poll(() => served.length).toBe(2);
  good.socket.pause();
  served[1]!.exchange.send(200, [], answer);
  good.socket.write("more");
  await expect.poll(() => bytes.held).toBe(answer.length + 4);
  good.socket.resume();
  await expect.poll(() => others[0]?.text).toBe("more");
  expect(bytes.held).toBe(0);
  await expect.poll(() => good.text().endsWith(answer)).toBe(true);
  // The time in which it had to be taken is over, too.
  await new Promise((resolve) => setTimeout(resolve, 1550));
  expect(good.isClosed()).toBe(false);
});

test("idle connections end after their time; one that has never asked is for node to watch", async () => {
  const { served, others, lane, open } = await start();
  const silent = open();
  const used = open();
  used.socket.write(request("{}"));
  await expect.poll(() => [served.length, lane.connections.size]).toEqual([1, 2]);
  const nowMs = performance.now();
  for (const ms of [0, 900]) lane.look(nowMs + ms);
  expect(others).toEqual([]);
  lane.look(nowMs + 1100);
  expect(others).toHaveLength(1);
  expect(lane.connections.size).toBe(1);
  // The time begins with the answer, however long that took.
  lane.look(nowMs + 10 * KEEP_ALIVE_MS);
  served[0]!.exchange.send(200, [], "{}");
  lane.look(nowMs + 10.5 * KEEP_ALIVE_MS);
  // And begins anew with each.
  used.socket.write(request("{}"));
  await expect.poll(() => served.length).toBe(2);
  served[1]!.exchange.send(200, [], "{}");
  lane.look(nowMs + 11 * KEEP_ALIVE_MS);
  lane.look(nowMs + 12 * KEEP_ALIVE_MS);
  expect(Array.from(lane.connections, ({ socket }) => socket.destroyed)).toEqual([false]);
  lane.look(nowMs + 12 * KEEP_ALIVE_MS + 1);
  await expect.poll(used.isClosed).toBe(true);
  expect(silent.isClosed()).toBe(false);
});

test("of many silent connections a few at a time become node's: all at once would hold everybody", async () => {
  const { others, lane, open } = await start();
  for (let i = 0; i < 100; i++) open();
  await expect.poll(() => lane.connections.size).toBe(100);
  const nowMs = performance.now();
  for (const [ms, handedOver] of [
    [0, 0],
    [1100, 64],
    [1350, 100],
  ] as const) {
    lane.look(nowMs + ms);
    expect([others.length, lane.connections.size]).toEqual([handedOver, 100 - handedOver]);
  }
});

test("in a drain answers end their connections, idle ones end, and what comes is node's", async () => {
  const { served, others, lane, drain, open } = await start();
  const [busy, idle, late, silent, part] = [open(), open(), open(), open(), open()];
  for (const { socket } of [busy, idle, late]) socket.write(request("{}"));
  part.socket.write(request("{}").slice(0, -1));
  await expect.poll(() => [served.length, lane.connections.size]).toEqual([3, 5]);
  served[1]!.exchange.send(200, [], "{}");
  served[2]!.exchange.send(200, [], "{}");
  drain();
  late.socket.write(request("[]"));
  await expect.poll(() => others.map(({ text }) => text)).toEqual([request("[]")]);
  lane.closeIdle();
  expect(others.map(({ text }) => text)).toEqual([request("[]"), "", request("{}").slice(0, -1)]);
  await expect.poll(idle.isClosed).toBe(true);
  expect(busy.isClosed()).toBe(false);
  served[0]!.exchange.send(200, [], "{}");
  await expect.poll(busy.isClosed).toBe(true);
  expect(busy.text()).toMatch(/\r\nconnection: close\r\nDate: [^\r]+\r\n\r\n\{\}$/);
  expect(silent.isClosed()).toBe(false);
  expect(lane.connections.size).toBe(0);
});

import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { Router } from "zeromq";
import { type DealerSocket, openDealer } from "./dealer.ts";
import { openRouter } from "./router.ts";

/** A ROUTER of libzmq at a port of its choice, or at a given one. */
async function startRouter(address = "tcp://127.0.0.1:*"): Promise<Router> {
  const router = new Router({ linger: 0, mandatory: true, receiveTimeout: 10_000, sendTimeout: 10_000 });
  onTestFinished(() => router.close());
  await router.bind(address);
  return router;
}

type Opened = {
  readonly dealer: DealerSocket;
  readonly messages: AsyncIterator<Buffer[]>;
  readonly gone: Promise<void>;
};

function open(address: string): Opened {
  const heard: Buffer[][] = [];
  const gone = Promise.withResolvers<void>();
  let wake = (): void => {};
  const dealer = openDealer(address, {
    onMessage: (frames) => {
      heard.push(frames);
      wake();
    },
    onDisconnected: () => gone.resolve(),
  });
  onTestFinished(() => dealer.close("abandon"));
  const messages = (async function* () {
    for (;;) {
      const frames = heard.shift();
      if (frames !== undefined) yield frames;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  })();
  return { dealer, messages, gone: gone.promise };
}

/** A server that says what it is told, and the connections that come. */
async function startServer(onConnection: (socket: Socket) => void): Promise<{ server: Server; address: string }> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    onTestFinished(() => void socket.destroy());
    onConnection(socket);
  }).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return { server, address: `tcp://127.0.0.1:${address.port}` };
}

test("it and a ROUTER of libzmq understand each other: empty, short, long and large frames, both ways", async () => {
  const router = await startRouter();
  const { dealer, messages } = open(router.lastEndpoint!);
  dealer.send([Buffer.from("hello")]);
  const [id, hello] = await router.receive();
  expect(hello!.toString()).toBe("hello");
  const frames = [0, 1, 255, 256, 20_000, 0, 3_000_000].map((length, i) => Buffer.alloc(length, i));
  for (let round = 0; round < 3; round++) {
    dealer.send(frames);
    const [, ...there] = await router.receive();
    expect(there.map((frame, i) => frame.equals(frames[i]!))).toEqual(frames.map(() => true));
    await router.send([id!, ...there]);
    const back: Buffer[] = (await messages.next()).value;
    expect(back.map((frame, i) => frame.equals(frames[i]!))).toEqual(frames.map(() => true));
  }
});

test("what libzmq does to see whether the other end lives is answered", async () => {
  const router = new Router({ linger: 0, heartbeatInterval: 20, heartbeatTimeout: 1_000, receiveTimeout: 10_000 });
  onTestFinished(() => router.close());
  await router.bind("tcp://127.0.0.1:*");
  const { dealer, messages, gone } = open(router.lastEndpoint!);
  dealer.send([Buffer.from("hello")]);
  const [id] = await router.receive();
  // Twice as long as a silent peer would be let live: the answer is what is awaited, from the same connection.
  const timer = new Promise<string>((resolve) => setTimeout(() => resolve("alive"), 2_000));
  expect(await Promise.race([gone.then(() => "gone"), timer])).toBe("alive");
  await router.send([id!, "still there"]);
  expect((await messages.next()).value.toString()).toBe("still there");
});

test("a broker that comes later is found, and hears what was said last", async () => {
  const { server, address } = await startServer(() => {});
  server.close();
  await once(server, "close");
  const { dealer } = open(address);
  dealer.send([Buffer.from("first")]);
  dealer.send([Buffer.from("last")]);
  const router = await startRouter(address);
  expect((await router.receive())[1]!.toString()).toBe("last");
  dealer.send([Buffer.from("next")]);
  expect((await router.receive())[1]!.toString()).toBe("next");
});

test("a broker that goes is told at once", async () => {
  const router = await startRouter();
  const { dealer, gone } = open(router.lastEndpoint!);
  dealer.send([Buffer.from("hello")]);
  await router.receive();
  router.close();
  await gone;
});

test("a graceful close sends what waits, and connects no more", async () => {
  const heard: number[] = [];
  const done = Promise.withResolvers<void>();
  const router = await openRouter("tcp://127.0.0.1:0", {
    onMessage: (_, frames) => void heard.push(frames[0]!.readUInt32LE()),
    onGone: () => done.resolve(),
    onTurnEnd: () => {},
  });
  onTestFinished(() => router.close());
  let told = 0;
  const dealer = openDealer(router.address, { onMessage: () => told++, onDisconnected: () => told++ });
  dealer.send([Buffer.alloc(4)]);
  while (heard.length === 0) await new Promise((resolve) => setImmediate(resolve));
  // More than the buffers of a connection hold.
  for (let number = 1; number <= 16; number++)
    dealer.send([Buffer.from(Uint32Array.of(number).buffer), Buffer.alloc(1_000_000)]);
  dealer.close("graceful");
  await done.promise;
  expect(heard).toEqual(Array.from({ length: 17 }, (_, i) => i));
  // Another one comes and is heard: by then the first would have found out, and begun anew.
  const other = open(router.address);
  other.dealer.send([Buffer.alloc(4)]);
  while (heard.length < 18) await new Promise((resolve) => setImmediate(resolve));
  expect(told).toBe(0);
});

test("one that is abandoned tells nothing any more", async () => {
  const socket = Promise.withResolvers<Socket>();
  const { address } = await startServer(socket.resolve);
  let told = 0;
  const dealer = openDealer(address, { onMessage: () => told++, onDisconnected: () => told++ });
  const there = await socket.promise;
  dealer.close("abandon");
  there.resume();
  await once(there, "close");
  expect(told).toBe(0);
});

test("a broker that is no ZeroMQ is left, and tried again", async () => {
  let connections = 0;
  const second = Promise.withResolvers<void>();
  const { address } = await startServer((socket) => {
    if (++connections === 2) second.resolve();
    socket.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  });
  open(address);
  await second.promise;
});

test("a ROUTER ends connections that are not ZeroMQ's, or say nothing", async () => {
  const router = await openRouter("tcp://127.0.0.1:0", { onMessage: () => {}, onGone: () => {}, onTurnEnd: () => {} });
  onTestFinished(() => router.close());
  const port = Number(/\d+$/.exec(router.address)![0]);
  const garbage = connect(port, "127.0.0.1");
  garbage.write("GET / HTTP/1.1\r\nHost: somebody\r\nUser-Agent: who speaks another language\r\n\r\n");
  garbage.resume();
  const silent = connect(port, "127.0.0.1");
  silent.resume();
  await Promise.all([once(garbage, "close"), once(silent, "close")]);
}, 10_000);

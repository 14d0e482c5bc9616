import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { openDealer } from "./dealer.ts";
import { openRouter } from "./router.ts";
import { ZmtpSocket } from "./zmtp-socket.ts";

const SHAKE = Buffer.from(
  `\xff${"\0".repeat(8)}\x7f\x03\x01NULL${"\0".repeat(48)}\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER`,
  "latin1",
);

type Pair = {
  readonly socket: Socket;
  readonly zmtp: ZmtpSocket;
  /** Has shaken hands, and reads nothing more until it is asked to. */
  readonly client: Socket;
  readonly closed: Promise<void>;
};

/** A connection of a ROUTER, and who is at its other end. */
async function pair(): Promise<Pair> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  const client = connect({ port: address.port, host: "127.0.0.1", allowHalfOpen: true }).on("error", () => {});
  const [socket] = (await once(server, "connection")) as [Socket];
  onTestFinished(() => {
    client.destroy();
    socket.destroy();
    server.close();
  });
  const isReady = Promise.withResolvers<void>();
  const isClosed = Promise.withResolvers<void>();
  const zmtp = new ZmtpSocket(socket, "ROUTER", {
    onReady: isReady.resolve,
    onMessage: () => {},
    onClosed: isClosed.resolve,
  });
  socket.on("data", (bytes: Buffer) => zmtp.receive(bytes));
  client.write(SHAKE);
  await isReady.promise;
  return { socket, zmtp, client, closed: isClosed.promise };
}

test("a peer that reads, but is never done, is not given up, however many messages that are", async () => {
  const { socket, zmtp, client } = await pair();
  // One chunk a turn: slower than what is sent, so that the connection's own buffers are full throughout.
  client.on("data", () => {
    client.pause();
    setImmediate(() => client.resume());
  });
  const send = (count: number): void => {
    for (let number = 0; number < count; number++) expect(zmtp.send([Buffer.alloc(1000)])).toBe(true);
  };
  send(8000);
  // As fast as it is read: some of it always waits.
  for (let count = 0; count < 100_000; count += 64) {
    while (socket.writableLength > 20_000_000) await turn();
    send(64);
    await turn();
  }
}, 60_000);

test("a peer that asks for PONGs and takes none is given up", async () => {
  const { socket, client, closed } = await pair();
  const pings = Buffer.from("\x04\x17\x04PING\0\x1e0123456789abcdef".repeat(2000), "latin1");
  for (let round = 0; round < 2000 && !socket.destroyed; round++) {
    if (!client.write(pings)) await Promise.race([once(client, "drain"), closed]);
    await turn();
  }
  expect(socket.destroyed).toBe(true);
  await closed;
}, 60_000);

test("a peer that has ended its side and reads nothing is gone, with all that waits for it", async () => {
  const { socket, zmtp, client, closed } = await pair();
  for (let count = 0; count < 30; count++) expect(zmtp.send([Buffer.alloc(1_000_000)])).toBe(true);
  expect(socket.writableLength).toBeGreaterThan(0);
  client.end();
  await closed;
});

test("a gateway may send all that it holds at once: it is not given up, and nothing is missing", async () => {
  const frame = Buffer.alloc(8 * 1024 * 1024, 3);
  const count = 70;
  const done = Promise.withResolvers<string>();
  let heard = 0;
  const router = await openRouter("tcp://127.0.0.1:0", {
    onMessage: (_, [first]) => {
      if (first!.length === frame.length && ++heard === count) done.resolve("all");
      if (first!.length === 1) {
        for (let sent = 0; sent < count; sent++) dealer.send([frame]);
      }
    },
    onGone: () => done.resolve("gone"),
    onTurnEnd: () => {},
  });
  const dealer = openDealer(router.address, { onMessage: () => {}, onDisconnected: () => done.resolve("given up") });
  onTestFinished(async () => {
    dealer.close("abandon");
    await router.close();
  });
  dealer.send([Buffer.alloc(1)]);
  expect(await done.promise).toBe("all");
}, 60_000);

import { setImmediate as turn } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { Dealer } from "zeromq";
import { openDealer } from "./dealer.ts";
import { openRouter, type RouterSocket } from "./router.ts";

/** More than the buffers of the connection hold, and libzmq's queue on the other end. */
const MANY = 12_000;
const LARGE = Buffer.alloc(10_000, 7);

/** A router and one peer that has said hello and reads nothing until it is asked to. */
async function connect(): Promise<{ router: RouterSocket; dealer: Dealer; peer: string; gone: Promise<string> }> {
  const onGone = Promise.withResolvers<string>();
  const onPeer = Promise.withResolvers<string>();
  const router = await openRouter("tcp://127.0.0.1:0", {
    onMessage: (peer) => onPeer.resolve(peer),
    onGone: (peer) => onGone.resolve(peer),
    onTurnEnd: () => {},
  });
  const dealer = new Dealer({ linger: 0, receiveTimeout: 5_000 });
  onTestFinished(async () => {
    if (!dealer.closed) dealer.close();
    await router.close();
  });
  dealer.connect(router.address);
  await dealer.send(["hello", "there"]);
  return { router, dealer, peer: await onPeer.promise, gone: onGone.promise };
}

function numbered(number: number): Uint8Array[] {
  return [Buffer.from(String(number)), LARGE];
}

/** Reads `count` messages, each of which must be the one behind the last. */
async function expectInOrder(dealer: Dealer, count: number): Promise<void> {
  for (let number = 0; number < count; number++) {
    const [head] = await dealer.receive();
    if (head!.toString() !== String(number)) expect(head!.toString()).toBe(String(number));
  }
}

test("what a peer does not take at once waits, and comes in order", async () => {
  const { router, dealer, peer } = await connect();
  for (let number = 0; number < MANY; number++) {
    router.send(peer, numbered(number));
    await turn();
  }
  await expectInOrder(dealer, MANY);
  router.send(peer, numbered(MANY));
  expect((await dealer.receive())[0]!.toString()).toBe(String(MANY));
});

test("sent in one turn: all of it comes in order, or the peer is given up", async () => {
  const { router, dealer, peer, gone } = await connect();
  for (let number = 0; number < MANY; number++) router.send(peer, numbered(number));
  const all = expectInOrder(dealer, MANY).then(() => "all");
  all.catch(() => {});
  expect(["all", peer]).toContain(await Promise.race([all, gone]));
});

test("a peer that lets too much pile up is given up", async () => {
  const { router, peer, gone } = await connect();
  const frames = [Buffer.alloc(1_000_000)];
  // 512 MiB, and what the connection and libzmq hold, which is a thousand messages.
  for (let number = 0; number < 1_800; number++) {
    router.send(peer, frames);
    await turn();
  }
  expect(await gone).toBe(peer);
});

test("and one for which too many messages pile up, however small", async () => {
  const { router, peer, gone } = await connect();
  for (let number = 0; number < 300_000; number++) router.send(peer, [Buffer.alloc(64)]);
  expect(await gone).toBe(peer);
});

test("closing sends what waits", async () => {
  const { router, dealer, peer } = await connect();
  for (let number = 0; number < MANY; number++) {
    router.send(peer, numbered(number));
    await turn();
  }
  const closed = router.close();
  await expectInOrder(dealer, MANY);
  await closed;
});

test("a connection that goes is told, and so is a send to a peer that is not there", async () => {
  const { router, dealer, peer, gone } = await connect();
  dealer.close();
  expect(await gone).toBe(peer);
  const unknown = Promise.withResolvers<string>();
  const other = await openRouter("tcp://127.0.0.1:0", {
    onMessage: () => {},
    onGone: (key) => unknown.resolve(key),
    onTurnEnd: () => {},
  });
  other.send("00", [LARGE]);
  expect(await unknown.promise).toBe("00");
  await other.close();
  router.send(peer, [LARGE]);
});

test("once it is closed, nothing is told any more", async () => {
  let told = 0;
  const onHello = Promise.withResolvers<void>();
  const router = await openRouter("tcp://127.0.0.1:0", {
    onMessage: () => onHello.resolve(),
    onGone: () => told++,
    onTurnEnd: () => {},
  });
  const dealer = openDealer(router.address, { onMessage: () => {}, onDisconnected: () => {} });
  dealer.send([LARGE]);
  await onHello.promise;
  dealer.close("graceful");
  await router.close();
  const before = told;
  for (let count = 0; count < 10; count++) await turn();
  expect(told).toBe(before);
});

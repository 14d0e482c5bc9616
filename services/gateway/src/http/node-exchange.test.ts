import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { expect, onTestFinished, test, vi } from "vitest";
import { NodeExchange } from "./node-exchange.ts";
import { Refusal } from "./refusal.ts";
import { ArrivingBodies, ByteBound, NO_RATE } from "./socket-bounds.ts";

const BODY_BYTES = 32 * 1024 * 1024;
const PIECE_BYTES = 64 * 1024;

/** A client in a thread of its own, so that it writes while this thread reads: the same byte all over, as fast as it can. */
const CLIENT = `
  const { workerData } = require("node:worker_threads");
  const socket = require("node:net").connect(workerData.port, "127.0.0.1");
  socket.write("POST / HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: " + workerData.bytes + "\\r\\n\\r\\n");
  socket.write(Buffer.alloc(workerData.bytes, 7));
  socket.resume();
`;

test("a large body gives others their turn of the event loop: a few hundred kilobytes of it at a time, and all of it in the end", async () => {
  const edge = {
    isClosing: () => false,
    bytes: new ByteBound(Infinity),
    arriving: new ArrivingBodies(NO_RATE),
    rate: NO_RATE,
  };
  const arrived = Promise.withResolvers<Buffer>();
  let exchange: NodeExchange | undefined;
  const server = createServer((incoming, outgoing) => {
    exchange = new NodeExchange(incoming, outgoing, edge);
    exchange.readBody(BODY_BYTES, (body) => {
      if (body instanceof Refusal) arrived.reject(new Error(body.message));
      else arrived.resolve(body);
      exchange!.send(200, [], "{}");
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const workerData = { port: (server.address() as AddressInfo).port, bytes: BODY_BYTES };
  const client = new Worker(CLIENT, { eval: true, workerData });
  onTestFinished(async () => {
    await client.terminate();
    server.close();
  });
  const timers = vi.spyOn(globalThis, "setTimeout");
  onTestFinished(() => timers.mockRestore());
  const waiting = { isOver: false };
  const isDone = (): void => void (waiting.isOver = true);
  void arrived.promise.then(isDone, isDone);
  let most = 0;
  let last = 0;
  while (!waiting.isOver) {
    await nextTurn();
    const now = exchange?.arrivedBytes ?? 0;
    most = Math.max(most, now - last);
    last = now;
  }
  const body = await arrived.promise;

  expect(body.equals(Buffer.alloc(BODY_BYTES, 7))).toBe(true);
  // The piece that reaches the mark, and one that was read before the pause was heard of.
  expect(most).toBeLessThanOrEqual(256 * 1024 + 2 * PIECE_BYTES);
  expect(most).toBeGreaterThan(0);
  // Two milliseconds between quarters of a megabyte, but for the first sixteen of them.
  const pauses = timers.mock.calls.filter(([, ms]) => ms === 2).length;
  expect(pauses).toBeGreaterThan((BODY_BYTES - 4 * 1024 * 1024) / (256 * 1024 + 2 * PIECE_BYTES) - 1);
});

import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, onTestFinished, test } from "vitest";
import { createApp } from "./app.ts";
import { startHttpServer } from "./http/http-server.ts";
import { FormPool } from "./form-threads/form-pool.ts";
import { echoOf, EchoInference, testModel, testOptions } from "./testing.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const BYTES = 4 * 1024 * 1024;
const REQUESTS = 6;

/** What the buffers of this process hold, without what is garbage. */
async function heldBytes(): Promise<number> {
  // What is found to be garbage is freed by threads of V8, a little later.
  for (let last = Infinity; ;) {
    collectGarbage();
    await sleep(20);
    const held = process.memoryUsage().arrayBuffers;
    if (held >= last) return last;
    last = held;
  }
}

/** A gateway whose requests wait for the test to answer them. */
async function start() {
  const model = testModel({ inputs: [{ name: "x", datatype: "UINT8", shape: [-1, BYTES] }] });
  const inference = new EchoInference([{ ...model, outputs: [{ name: "y", datatype: "UINT8", shape: [-1, BYTES] }] }]);
  inference.isManual = true;
  const options = testOptions();
  const onDefect = (error: unknown): never => {
    throw error;
  };
  const formThreads = new FormPool({ threads: 1, onDefect });
  const observer = { began: () => {}, ended: () => {} };
  const draining = { isDraining: () => false, isRefusing: () => false };
  const app = createApp({ inference, options, formThreads, version: "1", onDefect, observer, ...draining });
  const server = await startHttpServer(app, options);
  onTestFinished(async () => {
    await server.close();
    await formThreads.close();
  });
  return { inference, port: Number(new URL(server.address).port) };
}

function requestOf(data: Buffer): Buffer {
  const parameters = { binary_data_output: true };
  const input = { name: "x", datatype: "UINT8", shape: [1, BYTES], parameters: { binary_data_size: BYTES } };
  const json = JSON.stringify({ parameters, inputs: [input] });
  const head = [
    "POST /v2/models/echo/infer HTTP/1.1",
    "host: localhost",
    `content-length: ${json.length + BYTES}`,
    `inference-header-content-length: ${json.length}`,
    "connection: close",
  ];
  return Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n${json}`), data]);
}

test("a binary tensor is held once from the socket to the broker's side, and is sent back without another copy", async () => {
  const { inference, port } = await start();
  const data = Buffer.from(Uint8Array.from({ length: BYTES }, (_, i) => i % 251));
  const request = requestOf(data);
  const before = await heldBytes();
  const sockets = Array.from({ length: REQUESTS }, () => connect(port, "127.0.0.1"));
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  for (const socket of sockets) socket.pause().write(request);
  await expect.poll(() => inference.pending.size, { timeout: 30_000 }).toBe(REQUESTS);
  const growth = (await heldBytes()) - before;
  expect(growth).toBeGreaterThan(0.95 * REQUESTS * BYTES);
  expect(growth).toBeLessThan(1.1 * REQUESTS * BYTES);
  for (const { request: submitted } of inference.pending.values()) {
    // A view of the body, JSON included.
    const { payload } = submitted;
    expect([payload.byteLength, payload.buffer.byteLength]).toEqual([BYTES, payload.byteOffset + BYTES]);
    expect(submitted.inputs[0]?.data.buffer).toBe(payload.buffer);
  }
  // Nobody reads: answers, which echo the requests' memory, wait in the sockets, by reference.
  for (const { request: submitted, answer } of inference.pending.values()) answer(echoOf(submitted));
  expect((await heldBytes()) - before).toBeLessThan(1.1 * REQUESTS * BYTES);
  const answers = sockets.map(async (socket) => {
    const chunks: Buffer[] = [];
    for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
    return Buffer.concat(chunks);
  });
  for (const answer of await Promise.all(answers)) {
    expect(answer.toString("latin1", 0, 15)).toBe("HTTP/1.1 200 OK");
    expect(answer.subarray(-BYTES).equals(data)).toBe(true);
  }
});

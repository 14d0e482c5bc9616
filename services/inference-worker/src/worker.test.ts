import {
  decodeMessage,
  encodeMessage,
  encodeTensorList,
  ERROR_CODES,
  type JobItem,
  type Message,
} from "@millrace/protocol";
import { createLogger } from "@millrace/runtime";
import { openRouter } from "@millrace/transport";
import { expect, onTestFinished, test } from "vitest";
import { CurveBook } from "./curve-book.ts";
import { NO_OBSERVER } from "./metrics.ts";
import type { RunAhead } from "./runner-host.ts";
import { Worker } from "./worker.ts";

/** What a worker says but for HELLO and PING, and a way to answer it; every HELLO is answered with WELCOME. */
async function startBroker() {
  const said: Message[] = [];
  let wake = (): void => {};
  let peer = "";
  let seq = 0;
  let granted: readonly number[] = [];
  const send = (message: Message): void =>
    router.send(peer, encodeMessage(message, { epoch: "b".repeat(16), seq: ++seq }));
  const router = await openRouter("tcp://127.0.0.1:0", {
    onMessage: (from, frames) => {
      const decoded = decodeMessage(frames);
      if (!decoded.ok) throw new Error(decoded.fault);
      const { message } = decoded;
      if (message.command === "HELLO") {
        if (from !== peer) seq = 0;
        peer = from;
        const windows = { pingIntervalMs: 0, lostAfterMs: 0, windowItems: 0, windowBytes: 0, features: [] };
        return send({ command: "WELCOME", instance: "b", ...windows });
      }
      if (message.command === "CREDIT") ({ granted } = message);
      if (message.command !== "PING") said.push(message);
      wake();
    },
    onGone: () => {},
    onTurnEnd: () => {},
  });
  onTestFinished(() => router.close());
  /** The commands that were said, once the last of them is this one. */
  const until = async (command: Message["command"]): Promise<string[]> => {
    while (said.at(-1)?.command !== command) await new Promise<void>((resolve) => (wake = resolve));
    return said.splice(0).map((message) => message.command);
  };
  return { address: router.address, send, until, granted: () => granted };
}

const NO_LOAD = { queuedRows: 0, runningBatches: 0, oldestMs: 0, progressAgeMs: 0, granted: [], dispatched: [] };

function oneRow(): JobItem {
  const tensors = encodeTensorList({
    tensors: [{ name: "x", datatype: "FP32", shape: [1, 1], bytes: 4 }],
    outputs: [],
  });
  const about = { origin: Buffer.alloc(8), request: 0, attempt: 0, budgetUs: 60_000_000, trace: Buffer.alloc(0) };
  return { ...about, rows: 1, payload: Buffer.alloc(4), tensors };
}

type HandRun = { readonly kind: "run" | "ahead"; readonly end: () => void };

/** A slot's thread whose runs end when they are told to, one after the other, and badly. */
class HandThread {
  /** How each run came to the thread: asked for when the slot was free, or handed over ahead. */
  readonly begun: ("run" | "ahead")[] = [];
  readonly #waiting: HandRun[] = [];

  run(): Promise<never> {
    return new Promise((_, reject) => this.#push({ kind: "run", end: () => reject(new Error("enough")) }));
  }

  runAhead(): RunAhead {
    let recall = (): void => {};
    const ran = new Promise<undefined>((resolve, reject) => {
      const entry = { kind: "ahead", end: () => reject(new Error("enough")) } as const;
      recall = () => {
        const at = this.#waiting.indexOf(entry);
        if (at <= 0) return;
        this.#waiting.splice(at, 1);
        resolve(undefined);
      };
      this.#push(entry);
    });
    return { ran, recall };
  }

  finish(): void {
    this.#waiting.shift()?.end();
    if (this.#waiting[0] !== undefined) this.begun.push(this.#waiting[0].kind);
  }

  #push(entry: HandRun): void {
    this.#waiting.push(entry);
    if (this.#waiting.length === 1) this.begun.push(entry.kind);
  }
}

/** A worker of one model and one slot. */
function startWorker(brokers: readonly { readonly address: string }[]) {
  const thread = new HandThread();
  const input = { name: "x", datatype: "FP32", shape: [-1, 1] } as const;
  const about = {
    reason: "",
    platform: "simulated",
    digest: "",
    timeoutMs: 0,
    sloMs: 0,
    maxHoldMs: 0,
    maxRequestRows: 1,
    share: 1,
    maxBatchElements: 0,
    axes: [],
    optionalInputs: [],
  };
  const model = { name: "m", version: "1", state: "ready", batching: true, maxBatchSize: 1, ...about } as const;
  const worker = new Worker({
    observer: NO_OBSERVER,
    brokers: brokers.map(({ address }) => address),
    discoveryIntervalMs: 1_000,
    dnsServers: [],
    instance: "w",
    bytesMax: 1e6,
    models: [
      {
        index: 0,
        memoryBytes: 0,
        fingerprint: "",
        buckets: [],
        curve: [],
        slots: [],
        model: { ...model, inputs: [input], outputs: [input] },
        padding: undefined,
      },
    ],
    curves: new CurveBook(),
    threads: [thread],
    logger: createLogger({ role: "worker", name: "w", level: "silent" }),
    onWelcome: () => {},
    testDelays: new Map(),
  });
  return { worker, thread, finish: () => thread.finish() };
}

const jobOf = (batch: number): Message => {
  return { command: "JOB", batch, slot: 0, model: 0, bucket: "", flags: 0, items: [oneRow()] };
};
const PING: Message = { command: "PING", ping: 1, ...NO_LOAD };

test("a worker that connects anew while it drains announces nothing, and asks for nothing but its leave", async () => {
  const broker = await startBroker();
  const { worker, finish } = startWorker([broker]);
  expect(await broker.until("CREDIT")).toEqual(["MODELS", "CREDIT"]);
  broker.send(jobOf(1));
  broker.send(PING);
  expect(await broker.until("PONG")).toEqual(["PONG"]);
  const drained = worker.drain("planned");
  expect(await broker.until("DRAIN")).toEqual(["DRAIN"]);
  broker.send({ command: "ERROR", code: ERROR_CODES.not_registered.number, seq: 0, retryAfterMs: 0, text: "not now" });
  expect(await broker.until("DRAIN")).toEqual(["DRAIN"]);
  broker.send(PING);
  expect(await broker.until("PONG")).toEqual(["PONG"]);
  finish();
  await drained;
  expect(await broker.until("GOODBYE")).toEqual(["GOODBYE"]);
});

test("a worker serves two brokers in turn, and what it does for one is nothing to the other", async () => {
  const [a, b] = [await startBroker(), await startBroker()];
  const { worker, finish } = startWorker([a, b]);
  for (const broker of [a, b]) expect(await broker.until("CREDIT")).toEqual(["MODELS", "CREDIT"]);
  // The same batch numbers: they mean something only in their own session.
  for (const broker of [a, b]) {
    broker.send(jobOf(1));
    broker.send(PING);
    expect(await broker.until("PONG")).toEqual(["PONG"]);
  }
  expect(worker.outstanding).toBe(2);
  finish();
  expect(await a.until("RESULT")).toEqual(["RESULT"]);
  // Now the other's runs, and one of each is staged behind it.
  for (const broker of [a, b]) {
    broker.send(jobOf(2));
    broker.send(PING);
    expect(await broker.until("PONG")).toEqual(["PONG"]);
  }
  const drained = worker.drain("planned");
  for (const broker of [a, b]) expect(await broker.until("DRAIN")).toEqual(["DRAIN"]);
  a.send({ command: "DRAINED", seq: 0 });
  expect(await a.until("NACK")).toEqual(["NACK"]);
  expect(worker.outstanding).toBe(2);
  // The other is lost: what it had staged is not for this worker any more.
  b.send({ command: "GOODBYE", reason: "gone", graceMs: 0 });
  expect(await b.until("DRAIN")).toEqual(["DRAIN"]);
  expect(worker.outstanding).toBe(1);
  finish();
  await drained;
  for (const broker of [a, b]) expect(await broker.until("GOODBYE")).toEqual(["GOODBYE"]);
});

test("the batch behind the running one is handed over ahead, and begins without a word; what is cancelled before does not", async () => {
  const broker = await startBroker();
  const { worker, thread, finish } = startWorker([broker]);
  expect(await broker.until("CREDIT")).toEqual(["MODELS", "CREDIT"]);
  const sendAndWait = async (...messages: Message[]): Promise<void> => {
    for (const message of [...messages, PING]) broker.send(message);
    expect(await broker.until("PONG")).toEqual(["PONG"]);
  };
  await sendAndWait(jobOf(1), jobOf(2));
  expect(thread.begun).toEqual(["run"]);
  finish();
  expect(thread.begun).toEqual(["run", "ahead"]);
  expect(await broker.until("RESULT")).toEqual(["RESULT"]);
  await sendAndWait(jobOf(3), { command: "CANCEL", items: [{ batch: 3, request: 0 }] });
  finish();
  const told: string[] = [];
  while (told.length < 2) told.push(...(await broker.until("RESULT")));
  expect(told).toEqual(["RESULT", "RESULT"]);
  expect(worker.outstanding).toBe(0);
  expect(thread.begun).toEqual(["run", "ahead"]);
  await worker.drain("done");
});

test("a batch of a lost session is not answered; when it ends, the session that followed is granted its place", async () => {
  const broker = await startBroker();
  const { worker, finish } = startWorker([broker]);
  expect(await broker.until("CREDIT")).toEqual(["MODELS", "CREDIT"]);
  expect(broker.granted()).toEqual([2]);
  broker.send(jobOf(1));
  broker.send(PING);
  expect(await broker.until("PONG")).toEqual(["PONG"]);
  broker.send({ command: "ERROR", code: ERROR_CODES.not_registered.number, seq: 0, retryAfterMs: 0, text: "who?" });
  expect(await broker.until("CREDIT")).toEqual(["MODELS", "CREDIT"]);
  expect(broker.granted()).toEqual([1]);
  finish();
  expect(await broker.until("CREDIT")).toEqual(["CREDIT"]);
  expect(broker.granted()).toEqual([2]);
  await worker.drain("done");
});

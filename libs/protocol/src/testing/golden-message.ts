import { encodeTensorList, type Stamp } from "../codec.ts";
import type { Command } from "../command.ts";
import { ERROR_CODES } from "../error-code.ts";
import { LIMITS } from "../limits.ts";
import { type Content, JOB_FLAGS, type Message, REQUEST_FLAGS } from "../message.ts";
import { broken, doubler } from "./golden-model.ts";

/** A message with a name: one of the golden vectors. */
export type GoldenMessage = { readonly name: string; readonly stamp: Stamp; readonly message: Message };

/** Real epochs are random; these can be read in a dump. */
const GATEWAY = epochOf("gateway1");
const BROKER = epochOf("broker-1");
const WORKER = epochOf("worker-1");

const NONE = Buffer.alloc(0);
const EMPTY_LOAD = { queuedRows: 0, runningBatches: 0, oldestMs: 0, progressAgeMs: 0, granted: [], dispatched: [] };

/** The tensors of a request for `x`, of an answer with `y`, and of one with every datatype. */
export const GOLDEN_TENSOR_LISTS = {
  request: { tensors: [{ name: "x", datatype: "FP32", shape: [1, 2], bytes: 8 }], outputs: ["y"] },
  answer: { tensors: [{ name: "y", datatype: "FP32", shape: [1, 2], bytes: 8 }], outputs: [] },
  large: { tensors: [{ name: "x", datatype: "FP32", shape: [2048, 2], bytes: 16_384 }], outputs: [] },
  mixed: {
    tensors: [
      { name: "ids", datatype: "INT64", shape: [2, 0, 300], bytes: 0 },
      { name: "words", datatype: "BYTES", shape: [2], bytes: 13 },
      { name: "scalar", datatype: "BOOL", shape: [], bytes: 1 },
    ],
    outputs: ["logits", "größe"],
  },
  empty: { tensors: [], outputs: [] },
} satisfies Record<string, Parameters<typeof encodeTensorList>[0]>;

const requestTensors = encodeTensorList(GOLDEN_TENSOR_LISTS.request);
const answerTensors = encodeTensorList(GOLDEN_TENSOR_LISTS.answer);

const submitItem: Content<"SUBMIT">["items"][number] = {
  request: 1,
  attempt: 0,
  route: 0,
  budgetUs: 4_990_000,
  ageUs: 1_200,
  priority: 0,
  rows: 1,
  cost: 0,
  flags: 0,
  bucket: "",
  tenant: "",
  excludeWorker: "",
  payload: floats(1, 2),
  tensors: requestTensors,
  trace: NONE,
};

const jobItem: Content<"JOB">["items"][number] = {
  origin: Buffer.from(GATEWAY, "hex"),
  request: 1,
  attempt: 0,
  budgetUs: 4_989_000,
  rows: 1,
  payload: floats(1, 2),
  tensors: requestTensors,
  trace: NONE,
};

const resultItem: Content<"RESULT">["items"][number] = {
  request: 0,
  attempt: 0,
  code: 0,
  retryAfterMs: 0,
  brokerQueueUs: 0,
  retryUs: 0,
  text: "",
  payload: floats(2, 4),
  tensors: answerTensors,
};

const contents: { [C in Command]: Readonly<Record<string, { from: string; seq: number; content: Content<C> }>> } = {
  HELLO: {
    worker: {
      from: WORKER,
      seq: 1,
      content: {
        role: "worker",
        instance: "worker-a",
        pool: "default",
        pingIntervalMs: 500,
        slots: 1,
        bytesMax: 67_108_864,
        features: [],
        proof: NONE,
      },
    },
    "gateway with a proof": {
      from: GATEWAY,
      seq: 2,
      content: {
        role: "gateway",
        instance: "gateway-a",
        pool: "",
        pingIntervalMs: 500,
        slots: 0,
        bytesMax: 0,
        features: ["partial"],
        proof: Buffer.alloc(32, 0xa5),
      },
    },
  },
  CHALLENGE: {
    nonce: { from: BROKER, seq: 1, content: { nonce: Buffer.from("000102030405060708090a0b0c0d0e0f", "hex") } },
  },
  WELCOME: {
    plain: {
      from: BROKER,
      seq: 1,
      content: {
        instance: "broker-a",
        pingIntervalMs: 500,
        lostAfterMs: 2_000,
        windowItems: 0,
        windowBytes: 0,
        features: [],
      },
    },
  },
  PING: {
    "of a worker": {
      from: WORKER,
      seq: 4,
      content: {
        ping: 1,
        queuedRows: 3,
        runningBatches: 1,
        oldestMs: 12,
        progressAgeMs: 4,
        granted: [2, 7],
        dispatched: [1, 7],
      },
    },
  },
  PONG: { "of the broker": { from: BROKER, seq: 3, content: { ping: 1, ...EMPTY_LOAD, queuedRows: 129 } } },
  ERROR: {
    "outside a session": {
      from: BROKER,
      seq: 0,
      content: { code: ERROR_CODES.not_registered.number, seq: 9, retryAfterMs: 0, text: "say HELLO first" },
    },
  },
  DRAIN: { worker: { from: WORKER, seq: 9, content: { reason: "SIGTERM", graceMs: 30_000 } } },
  DRAINED: { "answer to a worker": { from: BROKER, seq: 12, content: { seq: 12 } } },
  GOODBYE: { worker: { from: WORKER, seq: 10, content: { reason: "drained", graceMs: 0 } } },
  SUBMIT: {
    "two small payloads and a large one": {
      from: GATEWAY,
      seq: 2,
      content: {
        items: [
          submitItem,
          {
            ...submitItem,
            request: 2,
            attempt: 1,
            excludeWorker: "worker-b",
            payload: Buffer.from([1, 2, 3]),
            tensors: NONE,
          },
          {
            ...submitItem,
            request: 3,
            priority: 2,
            rows: 2_048,
            cost: 70_000,
            flags: REQUEST_FLAGS.noRetry | REQUEST_FLAGS.stream,
            bucket: "2",
            tenant: "acme",
            payload: Buffer.alloc(LIMITS.packBelowBytes, 0xab),
            tensors: encodeTensorList(GOLDEN_TENSOR_LISTS.large),
            trace: Buffer.from("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
          },
          { ...submitItem, request: 4, payload: floats(3, 4) },
          { ...submitItem, request: 2 ** 33, ageUs: 255, payload: NONE },
        ],
      },
    },
  },
  CANCEL: {
    "of a gateway": {
      from: GATEWAY,
      seq: 3,
      content: {
        items: [
          { batch: 0, request: 1 },
          { batch: 0, request: 2 ** 33 },
        ],
      },
    },
    "to a worker": { from: BROKER, seq: 3, content: { items: [{ batch: 1, request: 1 }] } },
  },
  WINDOW: { raised: { from: BROKER, seq: 8, content: { items: 4_096, bytes: 2 ** 34 } } },
  RESULT: {
    "of a worker": {
      from: WORKER,
      seq: 4,
      content: {
        batch: 1,
        worker: "",
        batchRows: 2,
        batchWaitUs: 85,
        computeUs: 2_400,
        items: [resultItem, { ...resultItem, request: 1, payload: floats(6, 8) }],
        granted: 3,
      },
    },
    "to a gateway, one request failed": {
      from: BROKER,
      seq: 3,
      content: {
        batch: 1,
        worker: "worker-a",
        batchRows: 2,
        batchWaitUs: 85,
        computeUs: 2_400,
        items: [
          { ...resultItem, request: 1, brokerQueueUs: 310, retryUs: 70_000 },
          {
            ...resultItem,
            request: 4,
            code: ERROR_CODES.model_error.number,
            text: "Gather: index 9 is out of bounds",
            payload: NONE,
            tensors: NONE,
          },
        ],
        granted: 0,
      },
    },
  },
  PARTIAL: {
    "last chunk": {
      from: WORKER,
      seq: 7,
      content: {
        batch: 5,
        items: [{ request: 0, attempt: 0, chunk: 3, last: true, payload: Buffer.from("fin"), tensors: NONE }],
      },
    },
  },
  REJECT: {
    shed: {
      from: BROKER,
      seq: 4,
      content: {
        items: [
          {
            request: 3,
            attempt: 0,
            code: ERROR_CODES.shed.number,
            retryAfterMs: 250,
            brokerQueueUs: 40,
            retryUs: 0,
            text: "the budget cannot be met",
          },
        ],
      },
    },
  },
  MOVED: {
    "two requests": {
      from: BROKER,
      seq: 5,
      content: { pool: "default", owner: "broker-b", fence: 2, requests: [1, 300] },
    },
  },
  CREDIT: { "two slots": { from: WORKER, seq: 3, content: { fence: 1, granted: [2, 2], grantedBytes: 67_108_864 } } },
  RECLAIM: { request: { from: WORKER, seq: 5, content: { fence: 1, granted: [1, 2], grantedBytes: 1_048_576 } } },
  JOB: {
    "two requests": {
      from: BROKER,
      seq: 2,
      content: {
        batch: 1,
        slot: 0,
        model: 0,
        bucket: "",
        flags: 0,
        items: [jobItem, { ...jobItem, request: 4, budgetUs: 60_000, payload: floats(3, 4) }],
      },
    },
    isolated: {
      from: BROKER,
      seq: 9,
      content: {
        batch: 70_000,
        slot: 1,
        model: 200,
        bucket: "2",
        flags: JOB_FLAGS.isolate,
        items: [{ ...jobItem, attempt: 1 }],
      },
    },
  },
  NACK: {
    "not started": {
      from: WORKER,
      seq: 6,
      content: {
        batch: 1,
        code: ERROR_CODES.draining.number,
        started: false,
        retryAfterMs: 0,
        text: "the worker is shutting down",
      },
    },
  },
  MODELS: {
    "one that serves and one that cannot": {
      from: WORKER,
      seq: 2,
      content: {
        revision: 1,
        models: [
          {
            index: 0,
            memoryBytes: 1_048_576,
            fingerprint: "simulated/1",
            buckets: [""],
            curve: [
              { rows: 1, q50Us: 300, q95Us: 420, samples: 20, bucket: "" },
              { rows: 64, q50Us: 2_400, q95Us: 70_000, samples: 64, bucket: "2" },
            ],
            model: doubler,
            slots: [1],
          },
          { index: 1, memoryBytes: 0, fingerprint: "", buckets: [], curve: [], model: broken, slots: [] },
        ],
      },
    },
  },
  ROUTES: {
    "two models": {
      from: BROKER,
      seq: 2,
      content: {
        revision: 1,
        models: [
          { route: 0, workers: 1, isDefault: true, model: doubler },
          { route: 1, workers: 0, isDefault: true, model: broken },
        ],
      },
    },
    none: { from: BROKER, seq: 2, content: { revision: 1, models: [] } },
  },
  TOTALS: {
    ask: { from: GATEWAY, seq: 9, content: { ask: 1, entries: [] } },
    answer: {
      from: BROKER,
      seq: 12,
      content: {
        ask: 1,
        entries: [
          {
            counter: "broker/62726f6b65722d31",
            model: "double",
            version: "1",
            requests: 1000,
            failures: 3,
            rows: 1500,
            batches: 40,
            requestUs: 2_500_000,
            failureUs: 9_000,
            queueUs: 900_000,
            inputUs: 100_000,
            computeUs: 1_200_000,
            outputUs: 300_000,
            idleMs: 12,
          },
        ],
      },
    },
  },
};

/** At least one message of every command, with everything that a field can be in one of them. */
export const GOLDEN_MESSAGES: readonly GoldenMessage[] = Object.entries(contents).flatMap(([command, variants]) =>
  Object.entries(variants).map(([name, { from, seq, content }]) => ({
    name: `${command} ${name}`,
    stamp: { epoch: from, seq },
    message: { command, ...content } as Message,
  })),
);

function epochOf(text: string): string {
  return Buffer.from(text).toString("hex");
}

function floats(...values: number[]): Buffer {
  const data = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => data.writeFloatLE(value, 4 * i));
  return data;
}

/**
 * A worker without a model: answers each batch at once, with 40 bytes a request.
 *
 *     node bench/limits/fake-worker.ts BROKER BATCH_ROWS_MAX
 */
import { type Message, PING_EVERY_MS } from "@millrace/protocol";
import { BrokerLinks } from "@millrace/transport";

const [broker = "", rowsMax = "1"] = process.argv.slice(2);
const NONE = Buffer.alloc(0);
const ANSWER = Buffer.alloc(40);
const WINDOW = 2;
const IDLE = { queuedRows: 0, runningBatches: 0, oldestMs: 0, progressAgeMs: 0, dispatched: [] };
const model = {
  name: "fake",
  version: "1",
  state: "ready",
  reason: "",
  platform: "simulated",
  digest: "",
  batching: Number(rowsMax) > 1,
  maxBatchSize: Number(rowsMax),
  timeoutMs: 0,
  sloMs: 0,
  maxHoldMs: 0,
  maxRequestRows: Number(rowsMax),
  share: 1,
  maxBatchElements: 0,
  axes: [],
  optionalInputs: [],
  inputs: [],
  outputs: [],
} as const;

let granted = 0;

function onMessage(from: string, message: Message): void {
  if (message.command !== "JOB") return;
  granted += 1;
  links.send(from, {
    command: "RESULT",
    batch: message.batch,
    worker: "fake",
    batchRows: message.items.length,
    batchWaitUs: 0,
    computeUs: 1,
    items: message.items.map(({ attempt }, request) => ({
      request,
      attempt,
      code: 0,
      retryAfterMs: 0,
      brokerQueueUs: 0,
      retryUs: 0,
      text: "",
      payload: ANSWER,
      tensors: NONE,
    })),
    granted,
  });
}

const links = new BrokerLinks({
  brokers: [broker],
  discoveryIntervalMs: 1_000,
  dnsServers: [],
  hello: {
    role: "worker",
    instance: "fake-worker",
    pool: "default",
    pingIntervalMs: PING_EVERY_MS,
    slots: 1,
    bytesMax: 1_000_000_000,
    features: [],
    proof: NONE,
  },
  load: () => ({ ...IDLE, granted: [granted] }),
  handlers: {
    onActive: (to) => {
      granted = WINDOW;
      const models = [{ index: 0, memoryBytes: 0, fingerprint: "fake", buckets: [], curve: [], model, slots: [] }];
      links.send(to, { command: "MODELS", revision: 1, models });
      links.send(to, { command: "CREDIT", fence: 0, granted: [granted], grantedBytes: 0 });
      process.send?.({ type: "ready", addresses: {} });
    },
    onLost: (_from, reason) => {
      console.error(`lost the broker: ${reason}`);
      process.exit(1);
    },
    onMessage,
  },
  logger: { info: () => {}, warn: (fields, text) => console.error(text, fields) },
});
process.on("disconnect", () => process.exit(0));

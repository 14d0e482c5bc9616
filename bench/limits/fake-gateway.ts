/**
 * A gateway without HTTP: keeps so many requests under way, each of so many bytes; or, with a rate, sends them at the times of a
 * Poisson process. It reports that it is ready when it has warmed up, and then prints `done {"answers", "elapsedMs", "latencyMs", "queueMs"}`
 * after the time. Latencies count from when a request was due (with a rate) or sent.
 *
 *     node bench/limits/fake-gateway.ts BROKER BYTES WINDOW coalesced|lone MS [RATE_PER_SECOND]
 */
import { type Message, PING_EVERY_MS, type SubmitItem } from "@millrace/protocol";
import { BrokerLinks } from "@millrace/transport";
import { planArrivals } from "../../tests/support/arrival-plan.ts";
import { LatencyHistogram } from "../../tests/support/latency-histogram.ts";
import { Pacer } from "../../tests/support/pacer.ts";

const [broker = "", bytes = "0", windowText = "1", coalescing = "", msText = "1000", rate = "0"] =
  process.argv.slice(2);
const [window, ms, ratePerSecond] = [Number(windowText), Number(msText), Number(rate)];
const WARM_UP_MS = 500;
const NONE = Buffer.alloc(0);
const PAYLOAD = Buffer.alloc(Number(bytes), 1);
/** As gateways do: so much leaves in one message at most. */
const ITEMS_MAX = coalescing === "coalesced" ? Math.max(1, Math.min(256, Math.floor(262_144 / Number(bytes)))) : 1;
const IDLE = { queuedRows: 0, runningBatches: 0, oldestMs: 0, progressAgeMs: 0, granted: [], dispatched: [] };

let route: number | undefined;
let next = 0;
let waiting = 0;
let answers = 0;
let isFlushQueued = false;
let latency = new LatencyHistogram();
/** The time in the broker, as the answers tell it. */
let queue = new LatencyHistogram();
/** When each request under way was due, by its number. */
const dueMs = new Map<number, number>();
let arrivalsMs: Float64Array = new Float64Array(0);
let arrivalsStartMs = 0;

function item(): SubmitItem {
  dueMs.set(next, ratePerSecond > 0 ? arrivalsStartMs + arrivalsMs[next]! : performance.now());
  return {
    request: next++,
    attempt: 0,
    route: route ?? 0,
    budgetUs: 5_000_000,
    ageUs: 0,
    priority: 0,
    rows: 1,
    cost: 1,
    flags: 0,
    bucket: "",
    tenant: "",
    excludeWorker: "",
    payload: PAYLOAD,
    tensors: NONE,
    trace: NONE,
  };
}

/** At the end of this turn of the event loop, as gateways do. */
function queueFlush(): void {
  if (isFlushQueued) return;
  isFlushQueued = true;
  setImmediate(() => {
    isFlushQueued = false;
    while (waiting > 0) {
      const items = Array.from({ length: Math.min(waiting, ITEMS_MAX) }, item);
      waiting -= items.length;
      links.send(broker, { command: "SUBMIT", items });
    }
  });
}

function onMessage(_from: string, message: Message): void {
  if (message.command === "REJECT") {
    console.error(`refused: ${JSON.stringify(message.items[0])}`);
    process.exit(1);
  }
  if (message.command === "RESULT") {
    const nowMs = performance.now();
    for (const { request, brokerQueueUs } of message.items) {
      queue.record(brokerQueueUs / 1000);
      latency.record(nowMs - (dueMs.get(request) ?? 0));
      dueMs.delete(request);
    }
    answers += message.items.length;
    if (ratePerSecond === 0) {
      waiting += message.items.length;
      queueFlush();
    }
  }
  const served = message.command === "ROUTES" ? message.models.find(({ workers }) => workers > 0) : undefined;
  if (served !== undefined && route === undefined) {
    route = served.route;
    if (ratePerSecond > 0) pace();
    else {
      waiting = window;
      queueFlush();
    }
    setTimeout(measure, WARM_UP_MS);
  }
}

function pace(): void {
  arrivalsMs = planArrivals({ kind: "poisson", ratePerSecond, durationMs: WARM_UP_MS + ms + 500, seed: 1 });
  arrivalsStartMs = performance.now();
  let taken = 0;
  const pacer = new Pacer(arrivalsMs, arrivalsStartMs, (due) => {
    waiting += due - taken;
    taken = due;
    queueFlush();
    if (due === arrivalsMs.length) void pacer.stop();
  });
}

function measure(): void {
  latency = new LatencyHistogram();
  queue = new LatencyHistogram();
  const [startMs, before] = [performance.now(), answers];
  process.send?.({ type: "ready", addresses: {} });
  setTimeout(() => {
    const elapsedMs = performance.now() - startMs;
    const report = { answers: answers - before, elapsedMs, latencyMs: latency.summary(), queueMs: queue.summary() };
    console.log(`done ${JSON.stringify(report)}`);
  }, ms);
}

const links = new BrokerLinks({
  brokers: [broker],
  discoveryIntervalMs: 1_000,
  dnsServers: [],
  hello: {
    role: "gateway",
    instance: "fake-gateway",
    pool: "default",
    pingIntervalMs: PING_EVERY_MS,
    slots: 0,
    bytesMax: 0,
    features: [],
    proof: NONE,
  },
  load: () => IDLE,
  handlers: {
    onActive: () => {},
    onLost: (_from, reason) => {
      console.error(`lost the broker: ${reason}`);
      process.exit(1);
    },
    onMessage,
  },
  logger: { info: () => {}, warn: (fields, text) => console.error(text, fields) },
});
process.on("disconnect", () => process.exit(0));

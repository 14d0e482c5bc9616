import type { ModelDescription, ResultItem, WorkerModel } from "../libs/protocol/src/mod.ts";
import { BrokerMetrics } from "../services/broker/src/metrics/metrics.ts";
import type { BatchRun } from "../services/broker/src/metrics/observer.ts";
import type { Request } from "../services/broker/src/dispatch/request.ts";
import type { CallEnd } from "../services/gateway/src/call/call-end.ts";
import { GatewayMetrics } from "../services/gateway/src/metrics.ts";
import { WorkerMetrics } from "../services/inference-worker/src/metrics.ts";

/** Requests of a batch in this measurement: what small models run under load. */
const BATCH_REQUESTS = 16;
const CALLS = 200_000;
const REPETITIONS = 7;

const MODEL = { name: "m", version: "1", state: "ready" } as ModelDescription;

/**
 * What the calls to the recorders take by themselves, in ns of processor time a request, by role: the least of some repetitions
 * in a tight loop, where everything is in the cache. A lower bound, but one that no other load spoils.
 */
export function measureRecorders(): Readonly<Record<string, number>> {
  return { "gateway-1": gatewayNs(), "broker-1": brokerNs() / BATCH_REQUESTS, "worker-1": workerNs() / BATCH_REQUESTS };
}

function gatewayNs(): number {
  const metrics = new GatewayMetrics("");
  const own = { parseMs: 0.1, preprocessMs: 0, postprocessMs: 0, encodeMs: 0.05 };
  const behind = {
    gatewayQueueMs: 0.2,
    brokerQueueMs: 1.3,
    batchWaitMs: 0.3,
    computeMs: 2.1,
    retryMs: 0,
    networkMs: 0.7,
  };
  const exchange = { receivedMs: performance.now() } as CallEnd["exchange"];
  const end: CallEnd = { exchange, status: 200, code: undefined, message: "", model: MODEL, stages: { own, behind } };
  return leastNs(() => {
    metrics.began(MODEL);
    metrics.ended(end);
  });
}

function brokerNs(): number {
  const metrics = new BrokerMetrics("");
  const model = { route: 0, description: MODEL };
  const request = { model, receivedMs: 100, queueMs: 1.3, retryMs: 0 } as Request;
  const requests = Array.from({ length: BATCH_REQUESTS }, () => request);
  const batch = {
    model,
    elements: 64,
    paddingElements: 0,
    rows: BATCH_REQUESTS,
    requests,
  } as unknown as BatchRun["batch"];
  const item = { code: 0, retryUs: 0 };
  return leastNs(() => {
    for (const one of requests) metrics.submitted(one);
    metrics.batchSent(batch, "paced");
    const run = { batch, batchWaitMs: 0.3, computeMs: 2.1, roundTripMs: 3 };
    metrics.batchAnswered(run);
    for (const one of requests) metrics.answered(one, run, item);
    metrics.turnSent(105);
  });
}

function workerNs(): number {
  const metrics = new WorkerMetrics("");
  metrics.loaded({ index: 0, model: MODEL } as WorkerModel, { provider: "cpu", seconds: 1, copies: [] });
  const items = Array.from({ length: BATCH_REQUESTS }, () => ({ code: 0 }) as ResultItem);
  return leastNs(() => {
    metrics.batchDone(0, {
      runs: [{ rows: BATCH_REQUESTS, computeMs: 2, elements: 64, paddingElements: 0 }],
      waitMs: 1,
      busyMs: 3,
    });
    metrics.answered(0, items);
  });
}

function leastNs(once: () => void): number {
  let least = Infinity;
  for (let repetition = 0; repetition < REPETITIONS; repetition++) {
    const before = process.threadCpuUsage();
    for (let i = 0; i < CALLS; i++) once();
    const { user, system } = process.threadCpuUsage(before);
    least = Math.min(least, ((user + system) * 1000) / CALLS);
  }
  return least;
}

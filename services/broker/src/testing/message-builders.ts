import { type Content, ERROR_CODES, type MessageOf, type ResultItem, type SubmitItem } from "@millrace/protocol";

type Described = Content<"ROUTES">["models"][number]["model"];

const NONE = Buffer.alloc(0);

/** A model that doubles two numbers, up to 8 rows at a time, with what a test says differently. */
export function modelOf(name: string, given: Partial<Described> = {}): Described {
  return {
    name,
    version: "1",
    state: "ready",
    reason: "",
    platform: "simulated",
    digest: "",
    batching: true,
    maxBatchSize: 8,
    timeoutMs: 0,
    sloMs: 0,
    maxHoldMs: 100,
    maxRequestRows: 128,
    share: 1,
    maxBatchElements: 0,
    axes: [],
    optionalInputs: [],
    inputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
    outputs: [{ name: "y", datatype: "FP32", shape: [-1, 2] }],
    ...given,
  };
}

/** The list of a worker that serves these models, with the curve that it measured for each at warm-up. */
export function modelsMessage(
  models: readonly Described[],
  given: { readonly curveMs?: readonly (readonly [rows: number, ms: number])[]; readonly fingerprint?: string } = {},
): MessageOf<"MODELS"> {
  const { curveMs = [], fingerprint = "kind" } = given;
  const curve = curveMs.map(([rows, ms]) => ({ rows, q50Us: ms * 1000, q95Us: ms * 1000, samples: 1, bucket: "" }));
  return {
    command: "MODELS",
    revision: 1,
    models: models.map((model, index) => ({
      index,
      memoryBytes: 0,
      fingerprint,
      buckets: [],
      curve,
      model,
      slots: [],
    })),
  };
}

export function helloMessage(
  role: "gateway" | "worker",
  instance: string,
  given: Partial<Content<"HELLO">> = {},
): MessageOf<"HELLO"> {
  const limits = role === "worker" ? { slots: 1, bytesMax: 1_000_000 } : { slots: 0, bytesMax: 0 };
  const rest = { pool: "default", pingIntervalMs: 500, features: [], proof: NONE };
  return { command: "HELLO", role, instance, ...limits, ...rest, ...given };
}

export function pingMessage(granted: readonly number[] = []): MessageOf<"PING"> {
  const load = { queuedRows: 0, runningBatches: 0, oldestMs: 0, progressAgeMs: 0, dispatched: [] };
  return { command: "PING", ping: 1, ...load, granted };
}

export function creditMessage(granted: readonly number[]): MessageOf<"CREDIT"> {
  return { command: "CREDIT", fence: 0, granted, grantedBytes: 0 };
}

/** A request of one row and 16 bytes with a second to live, and a microsecond more than the number before it. */
export function submitItem(request: number, given: Partial<SubmitItem> = {}): SubmitItem {
  return {
    request,
    attempt: 0,
    route: 0,
    budgetUs: 1_000_000 + request,
    ageUs: 0,
    priority: 0,
    rows: 1,
    cost: 1,
    flags: 0,
    bucket: "",
    tenant: "",
    excludeWorker: "",
    payload: Buffer.alloc(16, request),
    tensors: NONE,
    trace: NONE,
    ...given,
  };
}

/** The answer to one item of a batch: its payload, sent back. */
export function resultItem(job: MessageOf<"JOB">, index: number, given: Partial<ResultItem> = {}): ResultItem {
  const item = job.items[index];
  const attempt = item?.attempt ?? 0;
  const payload = item?.payload ?? NONE;
  const none = { code: 0, retryAfterMs: 0, brokerQueueUs: 0, retryUs: 0, text: "", tensors: NONE };
  return { request: index, attempt, payload, ...none, ...given };
}

/** The answer to a batch that ran for `computeMs`; it grants nothing. */
export function resultMessage(
  job: MessageOf<"JOB">,
  computeMs: number,
  items: readonly ResultItem[] = job.items.map((_, index) => resultItem(job, index)),
): MessageOf<"RESULT"> {
  const batchRows = job.items.reduce((sum, { rows }) => sum + rows, 0);
  const run = {
    batch: job.batch,
    worker: "it says",
    batchRows,
    batchWaitUs: 0,
    computeUs: Math.floor(computeMs * 1000),
  };
  return { command: "RESULT", ...run, items, granted: 0 };
}

export function nackMessage(batch: number, started: boolean): MessageOf<"NACK"> {
  return {
    command: "NACK",
    batch,
    code: ERROR_CODES.unavailable.number,
    started,
    retryAfterMs: 0,
    text: "handed back",
  };
}

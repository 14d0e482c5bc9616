import type { Command } from "./command.ts";
import {
  bin,
  datatype,
  dimension,
  type Field,
  flag,
  list,
  name,
  oneOf,
  payload,
  struct,
  text,
  uint,
  type StructField,
  type ValueOf,
} from "./fields.ts";
import { AXES_MAX, AXIS_SIZES_MAX } from "./bucket.ts";
import { LIMITS } from "./limits.ts";

/** SUBMIT `flags`, bit by bit. */
export const REQUEST_FLAGS = { noRetry: 1, hedge: 2, stream: 4 } as const;

/** JOB `flags`, bit by bit. `isolate`: the request was on a worker that was lost, and runs alone. */
export const JOB_FLAGS = { isolate: 1 } as const;

const items = <T>(element: Field<T>) => list(element, LIMITS.items);
const tensorSpecs = list(struct({ name, datatype, shape: list(dimension, 32) }));

/** A model version as its worker describes it and as the gateway checks requests against it: see ModelDescription. */
const model = struct({
  name,
  version: name,
  state: oneOf(["loading", "ready", "failed"]),
  reason: text,
  platform: name,
  digest: name,
  batching: flag,
  maxBatchSize: uint,
  timeoutMs: uint,
  sloMs: uint,
  inputs: tensorSpecs,
  outputs: tensorSpecs,
  maxHoldMs: uint,
  maxRequestRows: uint,
  share: uint,
  maxBatchElements: uint,
  axes: list(
    struct({ sizes: list(uint, AXIS_SIZES_MAX), inputs: list(struct({ tensor: uint, dimension: uint })) }),
    AXES_MAX,
  ),
  optionalInputs: list(uint),
});

const load = struct({
  ping: uint,
  queuedRows: uint,
  runningBatches: uint,
  oldestMs: uint,
  progressAgeMs: uint,
  granted: list(uint),
  dispatched: list(uint),
});

const farewell = struct({ reason: text, graceMs: uint });

/** The descriptors of every command: names, types and order are the wire. docs/protocol.md is bound to this table by a test. */
export const MESSAGES = {
  HELLO: struct({
    role: oneOf(["gateway", "worker"]),
    instance: name,
    pool: name,
    pingIntervalMs: uint,
    slots: uint,
    bytesMax: uint,
    features: list(name),
    proof: bin(64),
  }),
  WELCOME: struct({
    instance: name,
    pingIntervalMs: uint,
    lostAfterMs: uint,
    windowItems: uint,
    windowBytes: uint,
    features: list(name),
  }),
  CHALLENGE: struct({ nonce: bin(64) }),
  PING: load,
  PONG: load,
  ERROR: struct({ code: uint, seq: uint, retryAfterMs: uint, text }),
  DRAIN: farewell,
  DRAINED: struct({ seq: uint }),
  GOODBYE: farewell,
  SUBMIT: struct({
    items: items(
      struct({
        request: uint,
        attempt: uint,
        route: uint,
        budgetUs: uint,
        ageUs: uint,
        priority: uint,
        rows: uint,
        cost: uint,
        flags: uint,
        bucket: name,
        tenant: name,
        excludeWorker: name,
        payload,
        tensors: bin(LIMITS.tensorsBytes),
        trace: bin(LIMITS.traceBytes),
      }),
    ),
  }),
  CANCEL: struct({ items: items(struct({ batch: uint, request: uint })) }),
  WINDOW: struct({ items: uint, bytes: uint }),
  RESULT: struct({
    batch: uint,
    worker: name,
    batchRows: uint,
    batchWaitUs: uint,
    computeUs: uint,
    items: items(
      struct({
        request: uint,
        attempt: uint,
        code: uint,
        retryAfterMs: uint,
        brokerQueueUs: uint,
        retryUs: uint,
        text,
        payload,
        tensors: bin(LIMITS.tensorsBytes),
      }),
    ),
    granted: uint,
  }),
  PARTIAL: struct({
    batch: uint,
    items: items(
      struct({ request: uint, attempt: uint, chunk: uint, last: flag, payload, tensors: bin(LIMITS.tensorsBytes) }),
    ),
  }),
  REJECT: struct({
    items: items(
      struct({
        request: uint,
        attempt: uint,
        code: uint,
        retryAfterMs: uint,
        brokerQueueUs: uint,
        retryUs: uint,
        text,
      }),
    ),
  }),
  MOVED: struct({ pool: name, owner: name, fence: uint, requests: list(uint, LIMITS.items) }),
  CREDIT: struct({ fence: uint, granted: list(uint), grantedBytes: uint }),
  RECLAIM: struct({ fence: uint, granted: list(uint), grantedBytes: uint }),
  JOB: struct({
    batch: uint,
    slot: uint,
    model: uint,
    bucket: name,
    flags: uint,
    items: items(
      struct({
        origin: bin(8),
        request: uint,
        attempt: uint,
        budgetUs: uint,
        rows: uint,
        payload,
        tensors: bin(LIMITS.tensorsBytes),
        trace: bin(LIMITS.traceBytes),
      }),
    ),
  }),
  NACK: struct({ batch: uint, code: uint, started: flag, retryAfterMs: uint, text }),
  MODELS: struct({
    revision: uint,
    models: list(
      struct({
        index: uint,
        memoryBytes: uint,
        fingerprint: name,
        buckets: list(name),
        curve: list(struct({ rows: uint, q50Us: uint, q95Us: uint, samples: uint, bucket: name })),
        model,
        slots: list(uint, 64),
      }),
    ),
  }),
  ROUTES: struct({
    revision: uint,
    models: list(struct({ route: uint, workers: uint, isDefault: flag, model })),
  }),
  TOTALS: struct({
    ask: uint,
    entries: list(
      struct({
        counter: name,
        model: name,
        version: name,
        requests: uint,
        failures: uint,
        rows: uint,
        batches: uint,
        requestUs: uint,
        failureUs: uint,
        queueUs: uint,
        inputUs: uint,
        computeUs: uint,
        outputUs: uint,
        idleMs: uint,
      }),
    ),
  }),
} satisfies Record<Command, StructField<unknown>>;

/** The content of one command. */
export type Content<C extends Command> = ValueOf<(typeof MESSAGES)[C]>;

/** A message of one command. Payloads and binary are views into the frames it was read from. */
export type MessageOf<C extends Command> = { readonly command: C } & Readonly<Content<C>>;

/** Any message of MRP/1. */
export type Message = { [C in Command]: MessageOf<C> }[Command];

export type SubmitItem = Content<"SUBMIT">["items"][number];
export type JobItem = Content<"JOB">["items"][number];
export type ResultItem = Content<"RESULT">["items"][number];
export type RejectItem = Content<"REJECT">["items"][number];
export type WorkerModel = Content<"MODELS">["models"][number];
/** One batch size of a worker's curve, by bucket; times in microseconds. */
export type AnnouncedPoint = WorkerModel["curve"][number];

/**
 * The tensors of one payload, in order: what `tensors` of SUBMIT, JOB and RESULT items holds (for a request also the names
 * of the outputs that it asks for; none means all). The broker never reads it.
 */
export const TENSORS = struct({
  tensors: list(struct({ name, datatype, shape: list(uint, 32), bytes: uint })),
  outputs: list(name),
});

export type TensorList = ValueOf<typeof TENSORS>;

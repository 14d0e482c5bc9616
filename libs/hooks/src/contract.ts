import type { Datatype, TensorSpec } from "@millrace/protocol";

export type { Datatype, TensorSpec } from "@millrace/protocol";

/**
 * What holds the elements of a tensor, by its datatype; row-major. BOOL: one byte an element, 0 or 1. BF16: the upper half of a
 * float's bits. BYTES: one Buffer an element (`String(element)` is its text).
 */
export type ElementsOf = {
  BOOL: Uint8Array;
  INT8: Int8Array;
  INT16: Int16Array;
  INT32: Int32Array;
  INT64: BigInt64Array;
  UINT8: Uint8Array;
  UINT16: Uint16Array;
  UINT32: Uint32Array;
  UINT64: BigUint64Array;
  FP16: Float16Array;
  BF16: Uint16Array;
  FP32: Float32Array;
  FP64: Float64Array;
  BYTES: readonly Buffer[];
};

/**
 * One tensor as a hook gets it. `shape` includes the batch dimension. The data are copied when they are first looked at; the hook owns
 * them then and may change them.
 */
export type Tensor<Type extends Datatype = Datatype> = {
  [Each in Type]: { readonly datatype: Each; readonly shape: readonly number[]; readonly data: ElementsOf[Each] };
}[Type];

/**
 * One tensor as a hook returns it. Its datatype is what the model (or `inputs`, `outputs` of the hooks) says. `data` is the
 * typed array of `ElementsOf`, or a flat or nested array of numbers, bigints, booleans, strings or bytes.
 */
export type GivenTensor = {
  readonly shape: readonly number[];
  readonly data: ElementsOf[Datatype] | readonly unknown[];
};

/** Tensors by their names. */
export type Tensors = Readonly<Record<string, Tensor>>;
/** Tensors by their names, from a hook. */
export type GivenTensors = Readonly<Record<string, GivenTensor>>;

/** What a hook may tell of its work; counted by model in `millrace_gateway_hook_events_total`. */
export const HOOK_EVENTS = ["cache_hit", "cache_miss", "lookup_failed", "lookup_default", "lookup_stale"] as const;
export type HookEvent = (typeof HOOK_EVENTS)[number];

/** Writes to the gateway's log. Fields hold what varies; never log what clients send. */
export type HookLog = Record<
  "debug" | "info" | "warn" | "error",
  (fields: Readonly<Record<string, string | number | boolean>>, text: string) => void
>;

/** What a hook knows of the request that it runs for, and what it may use. */
export type HookContext = {
  readonly model: { readonly name: string; readonly version: string };
  /** The client's `x-request-id`, or the gateway's. */
  readonly requestId: string;
  /** Aborted when the request's budget has passed or its client has gone away. Nobody waits for the hook any longer then. */
  readonly signal: AbortSignal;
  /** What is left of the request's budget, in milliseconds, at least 0. */
  readonly remainingMs: () => number;
  readonly log: HookLog;
  /** Counts events, one by default. */
  readonly count: (event: HookEvent, times?: number) => void;
  /** Empty at first; what a hook leaves here is there for the later hooks of the same request. In a thread it is copied. */
  readonly state: Record<string, unknown>;
};

/** What the client has sent, checked against the hooks' `inputs`, or the model's where there are none. */
export type HookRequest = { readonly inputs: Tensors; readonly rows: number };

/** What the model has answered. */
export type HookAnswer = {
  readonly outputs: Tensors;
  /** What the client has sent. */
  readonly request: HookRequest;
  /** Rows of the run that the request was part of. */
  readonly batchRows: number;
};

/** What has become of a request, for `after`. Decoded when it is first looked at: a hook that samples costs nothing else. */
export type HookRecord = {
  /** When the request was taken, in milliseconds since 1970. */
  readonly atMs: number;
  /** From there to the answer, in milliseconds. */
  readonly durationMs: number;
  /** "ok", or the code of the error that the client got. */
  readonly outcome: string;
  readonly request: HookRequest;
  /** What the client got; none where the outcome is not "ok". */
  readonly outputs: Tensors;
};

/** Makes the model's inputs, all of them, of what the client has sent. */
export type Preprocess = (request: HookRequest, context: HookContext) => GivenTensors | Promise<GivenTensors>;

/**
 * Makes the client's answer, all `outputs`, of the model's. It has as many rows as the client has sent, whatever `preprocess`
 * has made of them.
 */
export type Postprocess = (answer: HookAnswer, context: HookContext) => GivenTensors | Promise<GivenTensors>;

/** Runs when the client has been answered, and keeps nobody waiting; `context.signal` is aborted after 30 seconds. */
export type After = (record: HookRecord, context: HookContext) => void | Promise<void>;

export type HookOptions = {
  /** Run the hooks in threads of their own: for work that keeps a processor busy. What they take and return is copied. */
  readonly thread?: boolean;
  /** How many threads, 1 to 64; default 1. */
  readonly threads?: number;
};

/** What a module of hooks, `NAME/hooks.ts` in the models folder, may export; at least one of the three functions. */
export type HookModule = {
  readonly preprocess?: Preprocess;
  readonly postprocess?: Postprocess;
  readonly after?: After;
  /** What clients send in place of the model's inputs; needs `preprocess`. The first dimension is -1 where the model batches. */
  readonly inputs?: readonly TensorSpec[];
  /** What clients get in place of the model's outputs; needs `postprocess`. The first dimension as for `inputs`. */
  readonly outputs?: readonly TensorSpec[];
  readonly options?: HookOptions;
};

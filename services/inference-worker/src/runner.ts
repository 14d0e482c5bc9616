import type { Datatype, ErrorCode, TensorSpec } from "@millrace/protocol";
import type { SimulatedDevice } from "./manifest.ts";
import type { OnnxOptions } from "./onnx-options.ts";
import type { Padding, PaddingRules } from "./padding.ts";

/**
 * One input or output of a run, for all rows of the batch. `data` is raw little-endian, row-major, unpadded, and holds the
 * tensor and nothing else (BYTES: per element a uint32 length and the bytes). Whoever holds the object owns the buffer:
 * handing it on hands the buffer on, and crossing a thread detaches it.
 */
export type BatchTensor = {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: ArrayBuffer;
};

/** Where a model comes from, and with it which runner runs it. */
export type ModelSource =
  | { readonly platform: "onnxruntime_onnx"; readonly path: string; readonly options?: OnnxOptions }
  | { readonly platform: "simulated"; readonly device: SimulatedDevice };

/**
 * What a runner knows of a model once it is loaded, before any run. An empty shape is a scalar or, in an output of an ONNX
 * file, also a rank that the file does not tell; the warm-up finds out. `memoryBytes` is what loading took, as well as it
 * can be measured; 0 where nothing is held.
 */
export type ModelSignature = {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly memoryBytes: number;
};

/** One finished run: outputs in the signature's order, fresh buffers that belong to the caller. */
export type Ran = {
  readonly outputs: readonly BatchTensor[];
  /** When the model began to compute, on the clock of `process.hrtime.bigint()`, which all threads of a process share. */
  readonly startedNs: bigint;
  /** The model run alone: without conversion of inputs and outputs, and without any waiting. */
  readonly computeMs: number;
};

/**
 * One model on one device: the contract behind which every way to run models stands. A runner is created for one model, then
 * `load` once, `run` any number of times, never two at a time, and `unload` once. It runs inside the slot's runner thread,
 * and may block it.
 *
 * A runner knows nothing of batching: it runs what it is given and reports the shapes that came out. What makes it safe
 * (checked inputs and outputs, warm-up, the detection of batching) is in HostedModel, once for all runners.
 */
export type Runner = {
  /** Reads the model. Throws an Error whose message tells the model's owner why it cannot serve. */
  load(): Promise<ModelSignature>;
  /**
   * Runs the model on inputs in the signature's order, with datatypes, ranks and sizes already checked. The buffers are only
   * read. Throws an Error when the model fails on them, or a RunnerError where the code is known; the next run is not affected.
   */
  run(inputs: readonly BatchTensor[]): Promise<Ran>;
  /** Frees the model; the runner is then spent. */
  unload(): Promise<void>;
};

/** A failure with its place in the error table. The message is for people, and goes to the client. */
export class RunnerError extends Error {
  override readonly name = "RunnerError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** How the worker's owner limits a model; see model.yaml. */
export type ModelLimits = {
  /** Rows of one run, at least 1. */
  readonly maxBatchSize: number;
  /** `false`: never batch. `true`: batch without the check that rows do not influence each other. Undefined: find out. */
  readonly batching: boolean | undefined;
  /** Elements of all inputs of one run, padding included; default 0 = not limited. */
  readonly maxBatchElements?: number;
  /** Default: no input is padded. */
  readonly padding?: PaddingRules;
};

/** The warm-up runs of one size that count, in ms, in the order they ran; at least one. */
export type WarmUpRuns = { readonly rows: number; readonly timesMs: readonly number[] };

/** The warm-up runs of one bucket, by rows, ascending. */
export type BucketRuns = { readonly bucket: string; readonly runs: readonly WarmUpRuns[] };

/** A model that is ready to run. */
export type LoadedModel = {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** The first dimension of every input and output is the batch, and rows do not influence each other. */
  readonly batching: boolean;
  /** Why it is not batched, for the log; "" where it is. */
  readonly batchingReason: string;
  /** Rows of one run; 1 where `batching` is false. */
  readonly maxBatchSize: number;
  /** How rows of different size share a run; undefined where they do not. */
  readonly padding: Padding | undefined;
  /** Why its manifest's buckets are not used, for the log; "" where they are, or it has none. */
  readonly paddingReason: string;
  /** The buckets that were warmed up. */
  readonly buckets: readonly BucketRuns[];
  /** How much the process grew by loading and warming up; an estimate, as other threads may grow at the same time. */
  readonly memoryBytes: number;
  /** By rows, ascending: the first points of the model's curve. */
  readonly warmUpRuns: readonly WarmUpRuns[];
};

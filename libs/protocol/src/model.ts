import type { BucketAxis } from "./bucket.ts";
import type { Datatype } from "./datatype.ts";
import type { TensorSpec } from "./tensor.ts";

/**
 * Where a model version stands on its worker.
 *
 * - `loading`: it is being read and warmed up; it does not take requests yet.
 * - `ready`: it has answered its warm-up runs and takes requests.
 * - `failed`: it cannot serve, and `reason` says why; the worker's other models are not affected.
 */
export type ModelState = "loading" | "ready" | "failed";

/**
 * All that the rest of the system knows of one model version: its worker makes it, the broker relays it, the gateway checks
 * requests against it. What is not known yet, or never will be because the model failed, is empty ("", 0, []).
 */
export type ModelDescription = {
  readonly name: string;
  /** A decimal number without leading zeros; "1" for a bare ONNX file. */
  readonly version: string;
  readonly state: ModelState;
  /** Why it cannot serve, for people; "" unless the state is `failed`. */
  readonly reason: string;
  /** "onnxruntime_onnx" or "simulated". */
  readonly platform: string;
  /** SHA-256 of the model file, lower-case hex; "" where there is no file. */
  readonly digest: string;
  /** Whether the first dimension of every input and output is the batch, so that requests may share a run. */
  readonly batching: boolean;
  /** Rows of one run, at least 1; 1 where `batching` is false. A SUBMIT with more rows is refused. */
  readonly maxBatchSize: number;
  /** The default time budget of its requests in milliseconds; 0 where the model sets none. */
  readonly timeoutMs: number;
  /** The latency target of its requests in milliseconds; 0 where the model sets none. */
  readonly sloMs: number;
  /** In the order that payloads hold them; shapes include the batch dimension. */
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** How long a request may be held back so that its batch grows, in milliseconds; 0 = never. */
  readonly maxHoldMs: number;
  /** Rows of one client's request, at least `maxBatchSize`: the gateway sends what is larger than a run in parts. */
  readonly maxRequestRows: number;
  /** Its weight where models compete for slots: compute time in proportion to their shares. 1 to 1000; 0 is read as 1. */
  readonly share: number;
  /** Elements of all inputs of one run, padding included; 0 = not limited. What a SUBMIT costs is counted in them. */
  readonly maxBatchElements: number;
  /** Dimensions that are padded, so that rows of different size share a run; [] = only rows of equal size do. */
  readonly axes: readonly BucketAxis[];
  /** Positions of inputs that a request may leave out: masks, which the worker then makes. */
  readonly optionalInputs: readonly number[];
};

/** The order of model versions, for `sort`: by number, exactly, whatever their length. */
export function compareVersions(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : Number(a > b));
}

/**
 * One tensor of a payload, without its data. A payload is the data of its tensors, one behind the other in the order of
 * their headers, without gaps; `bytes` is the length of this one's.
 */
export type TensorHeader = {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly bytes: number;
};

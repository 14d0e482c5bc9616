/** What the calls beside inference answer; servers may tell more than this. */

/** `GET /v2`. */
export type ServerMetadata = {
  readonly name: string;
  readonly version: string;
  readonly extensions: readonly string[];
};

/** An input or output of a model; −1 is a dimension of any size. */
export type TensorMetadata = { readonly name: string; readonly datatype: string; readonly shape: readonly number[] };

/** `GET /v2/models/M`. */
export type ModelMetadata = {
  readonly name: string;
  readonly versions?: readonly string[];
  readonly platform: string;
  readonly inputs: readonly TensorMetadata[];
  readonly outputs: readonly TensorMetadata[];
};

/** `GET /v2/models/M/config`, in the form of Triton's ModelConfig. */
export type ModelConfig = {
  readonly name: string;
  readonly platform: string;
  readonly max_batch_size: number;
  readonly [key: string]: unknown;
};

/** How often, and how long together, in nanoseconds. */
export type StatisticDuration = { readonly count: number; readonly ns: number };

/** One version in `GET /v2/models/stats`. */
export type ModelStatistics = {
  readonly name: string;
  readonly version: string;
  readonly inference_count: number;
  readonly execution_count: number;
  readonly inference_stats: Readonly<
    Record<
      "success" | "fail" | "queue" | "compute_input" | "compute_infer" | "compute_output" | "cache_hit" | "cache_miss",
      StatisticDuration
    >
  >;
};

/** One version in `POST /v2/repository/index`. */
export type RepositoryEntry = {
  readonly name: string;
  readonly version?: string;
  readonly state?: string;
  readonly reason?: string;
};

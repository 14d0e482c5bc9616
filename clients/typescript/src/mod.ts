export { InferenceClient } from "./client.ts";
export type { CallOptions, ClientOptions, InferOptions, InferResult, RequestedOutput } from "./client.ts";
export type {
  ModelConfig,
  ModelMetadata,
  ModelStatistics,
  RepositoryEntry,
  ServerMetadata,
  StatisticDuration,
  TensorMetadata,
} from "./answers.ts";
export { InferenceError } from "./inference-error.ts";
export { type DataOf, type Datatype, type Tensor, type TensorOf, textsOf } from "./tensor.ts";

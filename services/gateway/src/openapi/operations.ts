import type { ErrorCode } from "@millrace/protocol";
import type { Component } from "./schemas.ts";

/** What one route takes and gives. */
export type Operation = {
  /** Unique, for generated clients. */
  readonly id: string;
  readonly tag: "Inference" | "Models" | "Server";
  readonly summary: string;
  /** The path as clients see it, where it is not the route's with its parameters in braces. */
  readonly template?: string;
  /** What a body holds; none where it is not given. `mayBeEmpty`: there need not be one. */
  readonly body?: { readonly component: Component; readonly mayBeEmpty?: boolean };
  /** What 200 holds, and for health 503, which is no error of the table. */
  readonly answer: Component | "text" | "html" | "document";
  readonly isHealth?: true;
  readonly errors: readonly ErrorCode[];
};

const LOOKING_UP: readonly ErrorCode[] = ["model_not_found", "unavailable"];
const METADATA: readonly ErrorCode[] = [...LOOKING_UP, "model_not_ready"];

/** All ways in which a call can end without a result that its client sees. */
const CALL: readonly ErrorCode[] = [
  "invalid_request",
  "invalid_json",
  "invalid_input",
  "invalid_shape",
  "invalid_datatype",
  "invalid_value",
  "too_many_rows",
  "unauthenticated",
  "forbidden",
  ...METADATA,
  "too_slow",
  "body_too_large",
  "unsupported",
  "shed",
  "queue_full",
  "draining",
  "worker_lost",
  "deadline_exceeded",
  "poison",
  "model_error",
  "output_not_json",
  "answer_too_large",
  "internal",
  "hook_failed",
  "lookup_failed",
];

const live: Omit<Operation, "id"> = { tag: "Server", summary: "Is the process alive?", answer: "Live", errors: [] };
const ready: Omit<Operation, "id"> = {
  tag: "Server",
  summary: "Does this gateway take requests?",
  answer: "Ready",
  isHealth: true,
  errors: [],
};
const server: Omit<Operation, "id"> = {
  tag: "Server",
  summary: "Name, version and extensions",
  answer: "ServerMetadata",
  errors: [],
};
const infer: Omit<Operation, "id"> = {
  tag: "Inference",
  summary: "Runs a model: the Open Inference Protocol",
  body: { component: "InferRequest" },
  answer: "InferAnswer",
  errors: CALL,
};
const predict: Omit<Operation, "id"> = {
  tag: "Inference",
  summary: "Runs a model: the plain form",
  body: { component: "PredictRequest" },
  answer: "PredictAnswer",
  errors: CALL,
};
const tfsPredict: Omit<Operation, "id"> = {
  tag: "Inference",
  summary: "Runs a model: TensorFlow Serving's form",
  body: { component: "TfsRequest" },
  answer: "TfsAnswer",
  errors: [...CALL, "not_found"],
};
const tfsStatus: Omit<Operation, "id"> = {
  tag: "Models",
  summary: "The state of a model's versions, as TensorFlow Serving tells it",
  answer: "TfsStatus",
  errors: LOOKING_UP,
};
const metadata: Omit<Operation, "id"> = {
  tag: "Models",
  summary: "What a model takes and gives",
  answer: "ModelMetadata",
  errors: METADATA,
};
const modelReady: Omit<Operation, "id"> = {
  tag: "Models",
  summary: "Does a model take requests?",
  answer: "ModelReady",
  isHealth: true,
  errors: LOOKING_UP,
};
const config: Omit<Operation, "id"> = {
  tag: "Models",
  summary: "A model's configuration, for Triton's clients",
  answer: "ModelConfig",
  errors: METADATA,
};
const statistics: Omit<Operation, "id"> = {
  tag: "Models",
  summary: "What a model has done so far, in the whole system",
  answer: "Statistics",
  errors: LOOKING_UP,
};

/** Every route that is served, as `METHOD /path/:parameter`. A test holds them against the routes themselves. */
export const OPERATIONS: Readonly<Record<string, Operation>> = {
  "POST /v2/models/:model/infer": { ...infer, id: "infer" },
  "POST /v2/models/:model/versions/:version/infer": { ...infer, id: "inferVersion" },
  "POST /predict/:model": { ...predict, id: "predict" },
  "POST /predict": {
    ...predict,
    id: "predictDefault",
    summary: "Runs the only model, or the default one: the plain form",
  },
  "POST /v1/models/:verb": { ...tfsPredict, id: "tfsPredict", template: "/v1/models/{model}:predict" },
  "POST /v1/models/:model/versions/:verb": {
    ...tfsPredict,
    id: "tfsPredictVersion",
    template: "/v1/models/{model}/versions/{version}:predict",
  },
  "GET /v1/models/:model": { ...tfsStatus, id: "tfsStatus" },
  "GET /v1/models/:model/versions/:version": { ...tfsStatus, id: "tfsVersionStatus" },
  "GET /v2/models/:model": { ...metadata, id: "modelMetadata" },
  "GET /v2/models/:model/versions/:version": { ...metadata, id: "modelVersionMetadata" },
  "GET /v2/models/:model/ready": { ...modelReady, id: "modelReady" },
  "GET /v2/models/:model/versions/:version/ready": { ...modelReady, id: "modelVersionReady" },
  "GET /v2/models/:model/config": { ...config, id: "modelConfig" },
  "GET /v2/models/:model/versions/:version/config": { ...config, id: "modelVersionConfig" },
  "GET /v2/models/:model/stats": { ...statistics, id: "modelStatistics" },
  "GET /v2/models/:model/versions/:version/stats": { ...statistics, id: "modelVersionStatistics" },
  "POST /v2/repository/index": {
    id: "repositoryIndex",
    tag: "Models",
    summary: "Every model version with its state",
    body: { component: "IndexRequest", mayBeEmpty: true },
    answer: "Index",
    errors: ["invalid_request", "invalid_json", "too_slow", "body_too_large"],
  },
  "GET /v2": { ...server, id: "serverMetadata" },
  "GET /v2/": { ...server, id: "serverMetadataSlash" },
  "GET /v2/health/live": { ...live, id: "healthLive" },
  "GET /v2/health/ready": { ...ready, id: "healthReady" },
  "GET /livez": { ...live, id: "livez" },
  "GET /health": { ...live, id: "health" },
  "GET /readyz": { ...ready, id: "readyz" },
  "GET /readiness": { ...ready, id: "readiness" },
  "GET /metrics": {
    id: "metrics",
    tag: "Server",
    summary: "Metrics, in Prometheus's text format",
    answer: "text",
    errors: [],
  },
  "GET /openapi.json": { id: "openapi", tag: "Server", summary: "This document", answer: "document", errors: [] },
  "GET /docs": { id: "docs", tag: "Server", summary: "This document for people", answer: "html", errors: [] },
};

/**
 * Routes of the Open Inference Protocol, of Triton's extensions to it and of TensorFlow Serving that exist elsewhere and not here:
 * answered with 501 and the feature's name, so that nobody takes a missing feature for a wrong path.
 */
export const UNSUPPORTED_ROUTES: readonly { readonly path: string; readonly feature: string }[] = [
  { path: "/v2/models/:model/generate", feature: "the generate extension" },
  { path: "/v2/models/:model/generate_stream", feature: "the generate extension" },
  { path: "/v2/models/:model/versions/:version/generate", feature: "the generate extension" },
  { path: "/v2/models/:model/versions/:version/generate_stream", feature: "the generate extension" },
  { path: "/v2/repository/models/:model/load", feature: "loading models" },
  { path: "/v2/repository/models/:model/unload", feature: "unloading models" },
  { path: "/v2/systemsharedmemory/*", feature: "system shared memory" },
  { path: "/v2/cudasharedmemory/*", feature: "CUDA shared memory" },
  { path: "/v2/trace/setting", feature: "the trace extension" },
  { path: "/v2/models/:model/trace/setting", feature: "the trace extension" },
  { path: "/v2/logging", feature: "the logging extension" },
  { path: "/v1/models/:model/metadata", feature: "TensorFlow Serving's metadata" },
  { path: "/v1/models/:model/versions/:version/metadata", feature: "TensorFlow Serving's metadata" },
  { path: "/v1/models/:model/labels/*", feature: "choosing versions by label" },
];

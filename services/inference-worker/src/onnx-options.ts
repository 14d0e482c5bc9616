export const GRAPH_OPTIMIZATION_LEVELS = ["disabled", "basic", "extended", "layout", "all"] as const;

/** One way of onnxruntime to run operators, by its own name. `deviceId`: which GPU, 0 and up; the runtime's choice if undefined. */
export type ExecutionProvider = { readonly name: string; readonly deviceId: number | undefined };

/** How onnxruntime runs a model; the words are its own (`OrtSessionOptions`). */
export type OnnxOptions = {
  /** In order of preference, at least one; what none of them can run falls to the processor. */
  readonly executionProviders: readonly ExecutionProvider[];
  /** Threads inside one operator, 1 to 256; undefined: as many as the worker gives a slot. */
  readonly intraOpNumThreads: number | undefined;
  readonly graphOptimizationLevel: (typeof GRAPH_OPTIMIZATION_LEVELS)[number];
  /** Keeps memory from run to run; without it a rare large batch does not stay allocated. */
  readonly enableCpuMemArena: boolean;
  /** Plans the memory of a run by the shapes of the one before. */
  readonly enableMemPattern: boolean;
};

export const DEFAULT_ONNX_OPTIONS: OnnxOptions = {
  executionProviders: [{ name: "cpu", deviceId: undefined }],
  intraOpNumThreads: undefined,
  graphOptimizationLevel: "all",
  enableCpuMemArena: true,
  enableMemPattern: true,
};

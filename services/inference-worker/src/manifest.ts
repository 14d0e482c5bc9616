import { AXES_MAX, AXIS_SIZES_MAX, DATATYPES, type Datatype, FREE, LIMITS, type TensorSpec } from "@millrace/protocol";
import { parse, YAMLParseError } from "yaml";
import { z } from "zod";
import { DEFAULT_ONNX_OPTIONS, GRAPH_OPTIMIZATION_LEVELS, type OnnxOptions } from "./onnx-options.ts";
import type { PaddingRules } from "./padding.ts";

/** The file beside a model's versions that says what the model file cannot. */
export const MANIFEST_FILE = "model.yaml";

/** Rows of one run where the manifest sets none. */
const MAX_BATCH_SIZE_DEFAULT = 128;

/** Runs that one request may be split into where the manifest does not say. */
const REQUEST_RUNS_DEFAULT = 16;

const REQUEST_ROWS_MAX = 100_000;

/** How long a request may be held back where the manifest does not say. The pace ends nearly all holds far sooner. */
const MAX_HOLD_MS_DEFAULT = 100;

const SHARE_MAX = 1_000;

/** Slots of a worker, at most. */
export const SLOTS_MAX = 64;

const DIMENSION_MAX = 2 ** 31 - 1;
const MANIFEST_BYTES_MAX = 1024 * 1024;
const TIMEOUT_MS_MAX = 3_600_000;

/** A model without a model: it takes `baseMs + rowMs · rows + elementMs · elements` a run, and computes what simulated-runner.ts documents. */
export type SimulatedDevice = {
  readonly baseMs: number;
  readonly rowMs: number;
  /** For each element of the inputs, padding included; default 0. */
  readonly elementMs?: number;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
};

/** A model's manifest with everything filled in. */
export type Manifest = {
  readonly description: string;
  readonly license: string;
  readonly source: string;
  /** Default budget of its requests; 0 where not set. */
  readonly timeoutMs: number;
  /** Latency target of its requests; 0 where not set. */
  readonly sloMs: number;
  /** Rows of one run, 1 to 256. */
  readonly maxBatchSize: number;
  /** Rows of one request, at least those of one run; beyond a run it is split. */
  readonly maxRequestRows: number;
  /** Elements of all inputs of one run, padding included; 0 = not limited. */
  readonly maxBatchElements: number;
  /** How inputs are padded, so that rows of different size share a run. */
  readonly padding: PaddingRules;
  /** How long a request may be held back so that its batch grows; 0 = never. */
  readonly maxHoldMs: number;
  /** Slots of a worker that hold a copy of it, 1 to 64; 0 where not set: as many as the worker's `--slots`. */
  readonly instances: number;
  /** Weight of the model where several compete for the same slots, 1 to 1000. */
  readonly share: number;
  /** `false` never batches, `true` trusts the owner that rows do not influence each other, undefined finds out. */
  readonly batching: boolean | undefined;
  /** SHA-256 in lower-case hex by path, relative to the model's folder, "/" between its parts. */
  readonly files: Readonly<Record<string, string>>;
  readonly onnxruntime: OnnxOptions;
  /** Set where the platform is `simulated`. */
  readonly simulated: SimulatedDevice | undefined;
};

/** What is wrong with a manifest, in words for the model's owner. */
export class ManifestError extends Error {
  override readonly name = "ManifestError";
}

const milliseconds = z.number().min(0).max(TIMEOUT_MS_MAX);
const budgetMs = z.int().min(1).max(TIMEOUT_MS_MAX);
const relativePath = z
  .string()
  .refine((path) => /^[^/\\]+(\/[^/\\]+)*$/.test(path) && !path.split("/").includes(".."), {
    error: 'must be a path inside the model\'s folder, such as "1/model.onnx"',
  });
const sha256 = z.string().regex(/^[0-9a-fA-F]{64}$/, { error: "must be 64 hex digits" });

const tensorSpec = z.strictObject({
  name: z.string().min(1).max(LIMITS.nameBytes),
  datatype: z.enum(Object.keys(DATATYPES) as [Datatype, ...Datatype[]]),
  shape: z.array(z.int().min(FREE)).max(32),
});
const dimensions = z.record(z.string(), z.int().min(1).max(31));

const inputSpecs = z.array(tensorSpec).min(1).max(LIMITS.list).refine(hasUniqueNames, { error: "names must differ" });
const outputSpecs = inputSpecs.refine((specs) => specs.every(({ shape }) => !shape.slice(1).includes(FREE)), {
  error: "only the first dimension of a simulated output may be -1",
});

/** One axis of `buckets`. */
const axis = z
  .strictObject({
    sizes: z
      .array(z.int().min(1).max(DIMENSION_MAX))
      .min(1)
      .max(AXIS_SIZES_MAX)
      .refine((sizes) => sizes.every((size, i) => i === 0 || size > sizes[i - 1]!), { error: "must ascend" }),
    inputs: dimensions.refine((inputs) => Object.keys(inputs).length > 0, { error: "must not be empty" }),
    outputs: dimensions.default({}),
    mask: z.string().min(1).optional(),
  })
  .refine(({ mask, inputs }) => mask === undefined || Object.hasOwn(inputs, mask), {
    path: ["mask"],
    error: "must be one of inputs",
  });

const executionProvider = z.union(
  [
    z
      .string()
      .min(1)
      .transform((name) => ({ name, deviceId: undefined })),
    z
      .strictObject({ name: z.string().min(1), device_id: z.int().min(0).max(1_023).optional() })
      .transform(({ name, device_id: deviceId }) => ({ name, deviceId })),
  ],
  { error: "must be a name, such as cpu, or { name: cuda, device_id: 0 }" },
);

const onnxOptions = z.strictObject({
  execution_providers: z.array(executionProvider).min(1).max(8).optional(),
  intra_op_num_threads: z.int().min(1).max(256).optional(),
  graph_optimization_level: z.enum(GRAPH_OPTIMIZATION_LEVELS).default(DEFAULT_ONNX_OPTIONS.graphOptimizationLevel),
  enable_cpu_mem_arena: z.boolean().default(DEFAULT_ONNX_OPTIONS.enableCpuMemArena),
  enable_mem_pattern: z.boolean().default(DEFAULT_ONNX_OPTIONS.enableMemPattern),
});

/** Every key of the section `onnxruntime`. */
export const ONNX_KEYS: readonly string[] = Object.keys(onnxOptions.shape);

const schema = z
  .strictObject({
    description: z.string().default(""),
    license: z.string().default(""),
    source: z.string().default(""),
    timeout_ms: budgetMs.optional(),
    slo_ms: budgetMs.optional(),
    max_batch_size: z.int().min(1).max(LIMITS.items).default(MAX_BATCH_SIZE_DEFAULT),
    max_request_rows: z.int().min(1).max(REQUEST_ROWS_MAX).optional(),
    max_batch_elements: z.int().min(1).optional(),
    buckets: z.array(axis).max(AXES_MAX).default([]),
    padding: z.record(z.string(), z.number()).default({}),
    max_hold_ms: z.int().min(0).max(TIMEOUT_MS_MAX).default(MAX_HOLD_MS_DEFAULT),
    instances: z.int().min(1).max(SLOTS_MAX).optional(),
    share: z.int().min(1).max(SHARE_MAX).default(1),
    batching: z.boolean().optional(),
    files: z.record(relativePath, z.strictObject({ sha256 })).default({}),
    platform: z.enum(["onnxruntime_onnx", "simulated"]).default("onnxruntime_onnx"),
    onnxruntime: onnxOptions.optional(),
    simulated: z
      .strictObject({
        base_ms: milliseconds.default(0),
        row_ms: milliseconds.default(0),
        element_ms: milliseconds.optional(),
        inputs: inputSpecs,
        outputs: outputSpecs,
      })
      .optional(),
  })
  .refine(({ platform, simulated }) => platform !== "simulated" || simulated !== undefined, {
    path: ["simulated"],
    error: "is needed where platform is simulated",
  })
  .refine(({ platform, simulated }) => platform === "simulated" || simulated === undefined, {
    path: ["simulated"],
    error: "needs platform: simulated",
  })
  .refine(({ platform, onnxruntime }) => platform === "onnxruntime_onnx" || onnxruntime === undefined, {
    path: ["onnxruntime"],
    error: "needs platform: onnxruntime_onnx",
  })
  .refine(({ timeout_ms: timeoutMs, slo_ms: sloMs }) => sloMs === undefined || sloMs <= (timeoutMs ?? TIMEOUT_MS_MAX), {
    path: ["slo_ms"],
    error: "must not be larger than timeout_ms",
  })
  .refine(({ max_batch_size: run, max_request_rows: request }) => request === undefined || request >= run, {
    path: ["max_request_rows"],
    error: "must not be smaller than max_batch_size",
  })
  .refine(({ buckets, padding }) => buckets.length > 0 || Object.keys(padding).length === 0, {
    path: ["padding"],
    error: "needs buckets",
  });

/** Every key of the file; docs/model-repository.md is bound to them by a test. */
export const MANIFEST_KEYS: readonly string[] = Object.keys(schema.shape);

/** The manifest of a model that has none. */
export const DEFAULT_MANIFEST: Manifest = toManifest(schema.parse({}));

/**
 * Reads a manifest's text (YAML 1.2). An empty text is the default manifest.
 * @throws ManifestError that names every wrong key and what is allowed; an unknown key is an error.
 */
export function parseManifest(text: string): Manifest {
  if (text.length > MANIFEST_BYTES_MAX) throw new ManifestError(`is larger than ${MANIFEST_BYTES_MAX} bytes`);
  const parsed = schema.safeParse(parseYaml(text) ?? {}, { error: describeIssue });
  if (!parsed.success) throw new ManifestError(parsed.error.issues.map(describe).join("; "));
  return toManifest(parsed.data);
}

function parseYaml(text: string): unknown {
  try {
    return parse(text, { logLevel: "error" });
  } catch (error) {
    // The first line says what and where; the lines behind it draw an arrow.
    const [first = ""] = (error instanceof Error ? error.message : String(error)).split("\n");
    const kind = error instanceof YAMLParseError ? "is not valid YAML" : "cannot be read";
    throw new ManifestError(`${kind}: ${first.replace(/:$/, "")}`);
  }
}

function toManifest(raw: z.output<typeof schema>): Manifest {
  const simulated = raw.simulated && {
    baseMs: raw.simulated.base_ms,
    rowMs: raw.simulated.row_ms,
    ...(raw.simulated.element_ms === undefined ? {} : { elementMs: raw.simulated.element_ms }),
    inputs: raw.simulated.inputs,
    outputs: raw.simulated.outputs,
  };
  return {
    description: raw.description,
    license: raw.license,
    source: raw.source,
    timeoutMs: raw.timeout_ms ?? 0,
    sloMs: raw.slo_ms ?? 0,
    maxBatchSize: raw.max_batch_size,
    maxRequestRows: raw.max_request_rows ?? raw.max_batch_size * REQUEST_RUNS_DEFAULT,
    maxBatchElements: raw.max_batch_elements ?? 0,
    padding: { axes: raw.buckets.map((one) => ({ ...one, mask: one.mask ?? "" })), values: raw.padding },
    maxHoldMs: raw.max_hold_ms,
    instances: raw.instances ?? 0,
    share: raw.share,
    batching: raw.batching,
    files: Object.fromEntries(Object.entries(raw.files).map(([path, file]) => [path, file.sha256.toLowerCase()])),
    onnxruntime: raw.onnxruntime === undefined ? DEFAULT_ONNX_OPTIONS : toOnnxOptions(raw.onnxruntime),
    simulated,
  };
}

function toOnnxOptions(raw: z.output<typeof onnxOptions>): OnnxOptions {
  return {
    executionProviders: raw.execution_providers ?? DEFAULT_ONNX_OPTIONS.executionProviders,
    intraOpNumThreads: raw.intra_op_num_threads,
    graphOptimizationLevel: raw.graph_optimization_level,
    enableCpuMemArena: raw.enable_cpu_mem_arena,
    enableMemPattern: raw.enable_mem_pattern,
  };
}

function hasUniqueNames(specs: readonly { readonly name: string }[]): boolean {
  return new Set(specs.map(({ name }) => name)).size === specs.length;
}

/** One issue with the path of its key, as it stands in the file: `simulated.inputs[0].shape: …`. */
function describe(issue: z.core.$ZodIssue): string {
  let at = "";
  for (const part of issue.path)
    at += typeof part === "number" ? `[${part}]` : `${at === "" ? "" : "."}${String(part)}`;
  return at === "" ? issue.message : `${at}: ${issue.message}`;
}

/** Messages for the mistakes that zod words for programmers. */
function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case "unrecognized_keys":
      return `unknown key ${issue.keys.map((key) => JSON.stringify(key)).join(", ")}`;
    case "invalid_type":
      if (issue.input === undefined) return "is missing";
      if (issue.input === null) return "has no value";
      return `must be ${ARTICLES[issue.expected] ?? issue.expected}, got ${show(issue.input)}`;
    case "too_small":
      if (issue.origin === "array" || issue.origin === "string") return "must not be empty";
      return `must be at least ${issue.minimum}, got ${show(issue.input)}`;
    case "too_big":
      if (issue.origin === "array" || issue.origin === "string") return `must not be longer than ${issue.maximum}`;
      return `must be at most ${issue.maximum}, got ${show(issue.input)}`;
    case "invalid_key":
      return issue.issues[0]?.message;
    case "invalid_value":
      return `must be one of ${issue.values.map(String).join(", ")}, got ${show(issue.input)}`;
    default:
      return undefined;
  }
}

const ARTICLES: Readonly<Record<string, string>> = {
  int: "a whole number",
  number: "a number",
  string: "a text",
  boolean: "true or false",
  object: "a mapping",
  record: "a mapping",
  array: "a list",
};

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { DEFAULT_MANIFEST, MANIFEST_KEYS, ManifestError, ONNX_KEYS, parseManifest } from "./manifest.ts";

test("an empty manifest is the default one", () => {
  expect(parseManifest("")).toEqual(DEFAULT_MANIFEST);
  expect(parseManifest("# nothing but a comment\n")).toEqual(DEFAULT_MANIFEST);
  expect(DEFAULT_MANIFEST).toEqual({
    description: "",
    license: "",
    source: "",
    timeoutMs: 0,
    sloMs: 0,
    maxBatchSize: 128,
    maxRequestRows: 2048,
    instances: 0,
    share: 1,
    maxBatchElements: 0,
    padding: { axes: [], values: {} },
    maxHoldMs: 100,
    batching: undefined,
    files: {},
    onnxruntime: {
      executionProviders: [{ name: "cpu", deviceId: undefined }],
      intraOpNumThreads: undefined,
      graphOptimizationLevel: "all",
      enableCpuMemArena: true,
      enableMemPattern: true,
    },
    simulated: undefined,
  });
});

test("a full manifest", () => {
  const digest = "0123456789abcdef".repeat(4);
  const text = `
description: Irises by their leaves
license: Apache-2.0
source: https://example.com/iris
timeout_ms: 800
slo_ms: 50
max_batch_size: 256
max_request_rows: 1000
max_batch_elements: 16384
buckets:
  - { sizes: [16, 32], inputs: { tokens: 1, mask: 1 }, outputs: { states: 1 }, mask: mask }
  - { sizes: [8], inputs: { image: 2 } }
padding: { tokens: -1 }
max_hold_ms: 2
instances: 3
share: 5
batching: true
files:
  1/model.onnx: { sha256: ${digest.toUpperCase()} }
platform: simulated
simulated:
  base_ms: 1.5
  row_ms: 0.25
  inputs: [{ name: x, datatype: FP32, shape: [-1, 4] }]
  outputs: [{ name: y, datatype: INT64, shape: [-1] }]
`;
  expect(parseManifest(text)).toEqual({
    description: "Irises by their leaves",
    license: "Apache-2.0",
    source: "https://example.com/iris",
    timeoutMs: 800,
    sloMs: 50,
    maxBatchSize: 256,
    maxRequestRows: 1000,
    instances: 3,
    share: 5,
    maxBatchElements: 16_384,
    padding: {
      axes: [
        { sizes: [16, 32], inputs: { tokens: 1, mask: 1 }, outputs: { states: 1 }, mask: "mask" },
        { sizes: [8], inputs: { image: 2 }, outputs: {}, mask: "" },
      ],
      values: { tokens: -1 },
    },
    maxHoldMs: 2,
    batching: true,
    files: { "1/model.onnx": digest },
    onnxruntime: DEFAULT_MANIFEST.onnxruntime,
    simulated: {
      baseMs: 1.5,
      rowMs: 0.25,
      inputs: [{ name: "x", datatype: "FP32", shape: [-1, 4] }],
      outputs: [{ name: "y", datatype: "INT64", shape: [-1] }],
    },
  });
});

test("how onnxruntime runs a model is its own section, in its own words", () => {
  const text = `
onnxruntime:
  execution_providers: [{ name: cuda, device_id: 1 }, cpu]
  intra_op_num_threads: 3
  graph_optimization_level: extended
  enable_cpu_mem_arena: false
  enable_mem_pattern: false
`;
  expect(parseManifest(text).onnxruntime).toEqual({
    executionProviders: [
      { name: "cuda", deviceId: 1 },
      { name: "cpu", deviceId: undefined },
    ],
    intraOpNumThreads: 3,
    graphOptimizationLevel: "extended",
    enableCpuMemArena: false,
    enableMemPattern: false,
  });
  expect(parseManifest("onnxruntime: {}")).toEqual(DEFAULT_MANIFEST);
});

const simulated = (rest: string) => `platform: simulated\nsimulated: { ${rest} }`;
const TENSOR = "[{ name: x, datatype: FP32, shape: [-1, 2] }]";
const TWO_OF_A_NAME = "[{ name: x, datatype: FP32, shape: [-1] }, { name: x, datatype: INT8, shape: [-1] }]";

test.each<[string, string]>([
  ["max_batchsize: 3", 'unknown key "max_batchsize"'],
  ["max_batch_size: 0", "max_batch_size: must be at least 1, got 0"],
  ["max_batch_size: 257", "max_batch_size: must be at most 256, got 257"],
  ["max_batch_size: 1.5", "max_batch_size: must be a whole number, got 1.5"],
  ["max_batch_size: lots", 'max_batch_size: must be a number, got "lots"'],
  ["timeout_ms:", "timeout_ms: has no value"],
  ["timeout_ms: -1", "timeout_ms: must be at least 1, got -1"],
  ["timeout_ms: 100\nslo_ms: 500", "slo_ms: must not be larger than timeout_ms"],
  ["max_batch_size: 8\nmax_request_rows: 7", "max_request_rows: must not be smaller than max_batch_size"],
  ["max_request_rows: 100001", "max_request_rows: must be at most 100000, got 100001"],
  ["buckets: [{ sizes: [16, 8], inputs: { x: 1 } }]", "buckets[0].sizes: must ascend"],
  ["buckets: [{ sizes: [0], inputs: { x: 1 } }]", "buckets[0].sizes[0]: must be at least 1, got 0"],
  ["buckets: [{ sizes: [], inputs: { x: 1 } }]", "buckets[0].sizes: must not be empty"],
  ["buckets: [{ sizes: [8], inputs: {} }]", "buckets[0].inputs: must not be empty"],
  ["buckets: [{ sizes: [8], inputs: { x: 0 } }]", "buckets[0].inputs.x: must be at least 1, got 0"],
  ["buckets: [{ sizes: [8], inputs: { x: 1 }, mask: m }]", "buckets[0].mask: must be one of inputs"],
  ["buckets: [{ sizes: [8], inputs: { x: 1 }, size: 3 }]", 'buckets[0]: unknown key "size"'],
  ["padding: { x: 1 }", "padding: needs buckets"],
  ["max_batch_elements: 0", "max_batch_elements: must be at least 1, got 0"],
  ["batching: sometimes", 'batching: must be true or false, got "sometimes"'],
  ["description: 5", "description: must be a text, got 5"],
  ["platform: triton", 'platform: must be one of onnxruntime_onnx, simulated, got "triton"'],
  ["onnxruntime: { threads: 1 }", 'onnxruntime: unknown key "threads"'],
  ["onnxruntime: { execution_providers: [] }", "onnxruntime.execution_providers: must not be empty"],
  [
    "onnxruntime: { execution_providers: [{ name: cuda, device: 1 }] }",
    'onnxruntime.execution_providers[0]: unknown key "device"',
  ],
  ["onnxruntime: { execution_providers: [5] }", "onnxruntime.execution_providers[0]: must be a name, such as cpu"],
  ["onnxruntime: { intra_op_num_threads: 0 }", "onnxruntime.intra_op_num_threads: must be at least 1, got 0"],
  [
    "onnxruntime: { graph_optimization_level: most }",
    'must be one of disabled, basic, extended, layout, all, got "most"',
  ],
  [
    `onnxruntime: {}\n${simulated(`inputs: ${TENSOR}, outputs: ${TENSOR}`)}`,
    "onnxruntime: needs platform: onnxruntime_onnx",
  ],
  ["platform: simulated", "simulated: is needed where platform is simulated"],
  [`simulated: { inputs: ${TENSOR}, outputs: ${TENSOR} }`, "simulated: needs platform: simulated"],
  [simulated(`outputs: ${TENSOR}`), "simulated.inputs: is missing"],
  [simulated(`inputs: ${TENSOR}, outputs: []`), "simulated.outputs: must not be empty"],
  [simulated(`inputs: ${TENSOR}, outputs: ${TENSOR}, jitter_ms: 1`), 'simulated: unknown key "jitter_ms"'],
  [
    simulated(`inputs: ${TENSOR}, outputs: [{ name: y, datatype: FP32, shape: [-1, -1] }]`),
    "simulated.outputs: only the first dimension of a simulated output may be -1",
  ],
  [
    simulated(`inputs: [{ name: x, datatype: FP32, shape: [-2] }], outputs: ${TENSOR}`),
    "simulated.inputs[0].shape[0]: must be at least -1, got -2",
  ],
  [simulated(`inputs: ${TWO_OF_A_NAME}, outputs: ${TENSOR}`), "simulated.inputs: names must differ"],
  ["files: { ../x: { sha256: aa } }", `files.../x: must be a path inside the model's folder, such as "1/model.onnx"`],
  ["files: { model.onnx: { sha256: aa } }", "files.model.onnx.sha256: must be 64 hex digits"],
  ["- a list", 'must be a mapping, got ["a list"]'],
  ["description: a\ndescription: b", "is not valid YAML: Map keys must be unique at line 2, column 1"],
  ["a: [", "is not valid YAML: Flow sequence in block collection"],
])("%j is refused: %s", (text, message) => {
  expect(() => parseManifest(text)).toThrow(ManifestError);
  expect(() => parseManifest(text)).toThrow(message);
});

test("a request may have sixteen runs of rows unless the manifest says otherwise", () => {
  expect(parseManifest("max_batch_size: 4").maxRequestRows).toBe(64);
  expect(parseManifest("max_batch_size: 4\nmax_request_rows: 4").maxRequestRows).toBe(4);
});

test("every mistake is named at once, the datatypes that there are too", () => {
  const text = simulated(`base_ms: -1, inputs: [{ name: x, datatype: FLOAT, shape: [1] }], outputs: ${TENSOR}`);
  expect(() => parseManifest(text)).toThrow(
    /^simulated\.base_ms: must be at least 0, got -1; simulated\.inputs\[0\]\.datatype: must be one of BOOL, .* got "FLOAT"$/,
  );
});

test("the documentation has every key, no other, and examples that work", async () => {
  const page = await readFile(new URL("../../../docs/model-repository.md", import.meta.url), "utf8");
  const keys = Array.from(page.matchAll(/^\| `(\w+)` \|/gm), ([, key]) => key);
  expect(keys).toEqual([...MANIFEST_KEYS, ...ONNX_KEYS]);
  const examples = Array.from(page.matchAll(/```yaml\n(.*?)```/gs), ([, text]) => text!);
  expect(examples.length).toBe(3);
  for (const text of examples) expect(() => parseManifest(text)).not.toThrow();
});

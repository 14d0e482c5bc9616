import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Datatype, encodeStrings, FREE } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encodeOnnxModel, type OnnxModel } from "../../../tests/support/onnx-model.ts";
import { createRunner, HostedModel } from "./hosted-model.ts";
import { DEFAULT_ONNX_OPTIONS, type OnnxOptions } from "./onnx-options.ts";
import type { BatchTensor, ModelLimits } from "./runner.ts";

const LIMITS: ModelLimits = { maxBatchSize: 4, batching: undefined };

let dir = "";
let files = 0;
beforeAll(async () => void (dir = await mkdtemp(join(tmpdir(), "millrace-"))));
afterAll(() => rm(dir, { recursive: true }));

async function loadBytes(bytes: Uint8Array, limits = LIMITS): Promise<HostedModel> {
  const path = join(dir, `${files++}.onnx`);
  await writeFile(path, bytes);
  return HostedModel.load(await createRunner({ platform: "onnxruntime_onnx", path }, 1), limits);
}

const load = (model: OnnxModel, limits?: ModelLimits) => loadBytes(encodeOnnxModel(model), limits);

/** A model of one input x and one output y with the same datatype. */
function unary(node: Partial<OnnxModel["nodes"][number]> & { op: string }, more: Partial<OnnxModel> = {}): OnnxModel {
  const value = { datatype: "FP32", shape: ["batch", 4] } as const;
  return {
    name: "unary",
    inputs: [{ name: "x", ...value }],
    outputs: [{ name: "y", ...value }],
    nodes: [{ inputs: ["x"], outputs: ["y"], ...node }],
    ...more,
  };
}

function identity(datatype: Datatype): OnnxModel {
  const value = { datatype, shape: ["batch", "inner"] };
  return unary({ op: "Identity" }, { inputs: [{ name: "x", ...value }], outputs: [{ name: "y", ...value }] });
}

test.each<[Datatype, ArrayBufferLike]>([
  ["BOOL", Uint8Array.of(1, 0).buffer],
  ["INT8", Int8Array.of(-128, 127).buffer],
  ["INT16", Int16Array.of(-32768, 1).buffer],
  ["INT32", Int32Array.of(-(2 ** 31), 1).buffer],
  ["INT64", BigInt64Array.of(-(2n ** 63n), 2n ** 53n + 1n).buffer],
  ["UINT8", Uint8Array.of(255, 0).buffer],
  ["UINT16", Uint16Array.of(65535, 1).buffer],
  ["UINT32", Uint32Array.of(2 ** 32 - 1, 1).buffer],
  ["UINT64", BigUint64Array.of(2n ** 64n - 1n, 1n).buffer],
  ["FP16", Float16Array.of(1.5, -65504).buffer],
  ["FP32", Float32Array.of(1.5, NaN).buffer],
  ["FP64", Float64Array.of(Math.PI, -Infinity).buffer],
  ["BYTES", new Uint8Array(encodeStrings(["", "größer 🦀"])).buffer],
])("carries %s without a change, an empty tensor too", async (datatype, buffer) => {
  const model = await load(identity(datatype));
  expect(model.loaded).toMatchObject({ inputs: [{ name: "x", datatype, shape: [FREE, FREE] }], batching: true });
  const data = buffer as ArrayBuffer;
  const before = Buffer.from(data.slice(0));
  const { outputs } = await model.run([{ name: "x", datatype, shape: [1, 2], data }]);
  expect(outputs).toMatchObject([{ name: "y", datatype, shape: [1, 2] }]);
  expect(Buffer.from(outputs[0]!.data)).toEqual(before);
  const none = await model.run([{ name: "x", datatype, shape: [2, 0], data: new ArrayBuffer(0) }]);
  expect(none.outputs[0]).toMatchObject({ shape: [2, 0] });
  expect(none.outputs[0]!.data.byteLength).toBe(0);
});

test.each<[string, Buffer]>([
  ["not UTF-8", Buffer.from([1, 0, 0, 0, 0xff])],
  ["a zero byte", Buffer.from([1, 0, 0, 0, 0])],
])("refuses texts that onnxruntime would change: %s", async (_, bytes) => {
  const model = await load(identity("BYTES"));
  const data = new Uint8Array(bytes).buffer;
  const input: BatchTensor = { name: "x", datatype: "BYTES", shape: [1, 1], data };
  await expect(model.run([input])).rejects.toMatchObject({ code: "invalid_value" });
});

test("two outputs of one value, and an output that is a constant, are buffers of their own", async () => {
  const value = { datatype: "FP32", shape: ["batch", 4] } as const;
  const model = await load({
    ...unary({ op: "Relu" }),
    outputs: [
      { name: "y", ...value },
      { name: "z", ...value },
      { name: "constant", datatype: "FP32", shape: [2] },
    ],
    nodes: [
      { op: "Relu", inputs: ["x"], outputs: ["y"] },
      { op: "Identity", inputs: ["y"], outputs: ["z"] },
    ],
    initializers: [{ name: "constant", datatype: "FP32", shape: [2], data: [7, 8] }],
  });
  for (let i = 0; i < 2; i++) {
    const input: BatchTensor = { name: "x", datatype: "FP32", shape: [1, 4], data: Float32Array.of(1, 2, 3, 4).buffer };
    const { outputs } = await model.run([input]);
    expect(outputs.map(({ data }) => Array.from(new Float32Array(data)))).toEqual([
      [1, 2, 3, 4],
      [1, 2, 3, 4],
      [7, 8],
    ]);
    for (const { data } of outputs) new Uint8Array(data.transfer()).fill(0xff);
  }
});

test("a failure of the model is a model_error, and the next run works", async () => {
  const model = await load({
    ...unary({ op: "Gather", inputs: ["table", "x"] }),
    inputs: [{ name: "x", datatype: "INT64", shape: ["batch"] }],
    outputs: [{ name: "y", datatype: "FP32", shape: ["batch"] }],
    initializers: [{ name: "table", datatype: "FP32", shape: [2], data: [10, 20] }],
  });
  const at = (index: bigint): BatchTensor[] => [
    { name: "x", datatype: "INT64", shape: [1], data: BigInt64Array.of(index).buffer },
  ];
  await expect(model.run(at(5n))).rejects.toMatchObject({
    code: "model_error",
    message: expect.stringMatching(/Gather/),
  });
  const { outputs } = await model.run(at(1n));
  expect(Array.from(new Float32Array(outputs[0]!.data))).toEqual([20]);
});

test.each<[string, () => Promise<HostedModel>, RegExp]>([
  ["a file that is not ONNX", () => loadBytes(Buffer.from("not a model")), /not an ONNX model, or it is damaged/],
  ["an empty file", () => loadBytes(new Uint8Array(0)), /onnxruntime cannot load it|not an ONNX model/],
  ["an operator that does not exist", () => load(unary({ op: "Nope" })), /cannot load it: .*Nope/],
  ["BFLOAT16", () => load(identity("BF16")), /type BFLOAT16/],
  [
    "an output that is a sequence",
    () => {
      const outputs = [{ name: "y", datatype: "FP32", shape: ["batch", 4], sequence: true }] as const;
      return load(unary({ op: "SequenceConstruct" }, { outputs }));
    },
    /its output "y" is a sequence or map.*zipmap=False/,
  ],
  [
    "a graph that fails on one row",
    () => {
      const initializers = [{ name: "shape", datatype: "INT64", shape: [1], data: [5] }] as const;
      return load(unary({ op: "Reshape", inputs: ["x", "shape"] }, { initializers }));
    },
    /does not run on one row of zeros: .*Reshape/,
  ],
])("says why it cannot serve %s", async (_, loading, message) => {
  await expect(loading()).rejects.toMatchObject({
    code: "model_not_ready",
    message: expect.stringMatching(message),
  });
});

test.each<[string, RegExp]>([
  ["abacus", /this onnxruntime has no execution provider "abacus"; it has cpu, /],
  ["cuda", /the libraries of the execution provider "cuda" are not installed|no execution provider "cuda"/],
])("an execution provider that cannot be had is told: %s", async (name, message) => {
  const path = join(dir, `${name}.onnx`);
  await writeFile(path, encodeOnnxModel(identity("FP32")));
  const options = { ...DEFAULT_ONNX_OPTIONS, executionProviders: [{ name, deviceId: undefined }] };
  const runner = await createRunner({ platform: "onnxruntime_onnx", path, options }, 1);
  await expect(HostedModel.load(runner, LIMITS)).rejects.toMatchObject({
    code: "model_not_ready",
    message: expect.stringMatching(message),
  });
});

test("the options of a model reach onnxruntime: without optimisation, arena and pattern it answers the same", async () => {
  const path = join(dir, "plain.onnx");
  await writeFile(path, encodeOnnxModel(unary({ op: "Relu" })));
  const options: OnnxOptions = {
    executionProviders: [{ name: "cpu", deviceId: undefined }],
    intraOpNumThreads: 2,
    graphOptimizationLevel: "disabled",
    enableCpuMemArena: false,
    enableMemPattern: false,
  };
  const model = await HostedModel.load(await createRunner({ platform: "onnxruntime_onnx", path, options }, 1), LIMITS);
  const data = Float32Array.of(-1, 2, -3, 4).buffer;
  const { outputs } = await model.run([{ name: "x", datatype: "FP32", shape: [1, 4], data }]);
  expect(Array.from(new Float32Array(outputs[0]!.data))).toEqual([0, 2, 0, 4]);
});

test("a missing file is named", async () => {
  const runner = await createRunner({ platform: "onnxruntime_onnx", path: join(dir, "missing.onnx") }, 1);
  await expect(HostedModel.load(runner, LIMITS)).rejects.toThrow(/no such file/);
});

test("finds out on a real model that its rows influence each other", async () => {
  const { loaded } = await load(unary({ op: "Softmax", attributes: { axis: { int: 0 } } }));
  expect(loaded).toMatchObject({ batching: false, maxBatchSize: 1 });
  expect(loaded.batchingReason).toMatch(/rows influence each other: its output "y"/);
});

test("a dynamically quantized model is found: its scale depends on the whole batch", async () => {
  const width = 512;
  const weights = Array.from({ length: width * 2 }, (_, i) => ((i * 37) % 101) - 50);
  const { loaded } = await load({
    name: "quantized",
    inputs: [{ name: "x", datatype: "FP32", shape: ["batch", width] }],
    outputs: [{ name: "y", datatype: "FP32", shape: ["batch", 2] }],
    nodes: [
      { op: "DynamicQuantizeLinear", inputs: ["x"], outputs: ["quantized", "scale", "zero"] },
      { op: "MatMulInteger", inputs: ["quantized", "weights", "zero"], outputs: ["product"] },
      { op: "Cast", inputs: ["product"], outputs: ["float"], attributes: { to: { elementType: "FP32" } } },
      { op: "Mul", inputs: ["float", "scale"], outputs: ["y"] },
    ],
    initializers: [{ name: "weights", datatype: "INT8", shape: [width, 2], data: weights }],
  });
  expect(loaded.batchingReason).toMatch(/rows influence each other/);
});

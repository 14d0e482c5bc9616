import { InferenceSession, Tensor } from "onnxruntime-node";
import { expect, test } from "vitest";
import { encodeOnnxModel, type OnnxModel } from "./onnx-model.ts";

async function load(model: OnnxModel): Promise<InferenceSession> {
  return InferenceSession.create(encodeOnnxModel(model), { intraOpNumThreads: 1 });
}

test("a file can be loaded, and tells its names, datatypes and shapes", async () => {
  const session = await load({
    name: "add",
    inputs: [{ name: "x", datatype: "FP32", shape: ["batch", null, 3] }],
    outputs: [{ name: "y", datatype: "FP32", shape: ["batch", null, 3] }],
    nodes: [{ op: "Add", inputs: ["x", "bias"], outputs: ["y"] }],
    initializers: [{ name: "bias", datatype: "FP32", shape: [3], data: [1, 2, 3] }],
  });
  expect(session.inputMetadata).toMatchObject([
    { name: "x", isTensor: true, type: "float32", shape: ["batch", "", 3] },
  ]);
  const x = new Tensor("float32", [0, 0, 0, 10, 10, 10], [1, 2, 3]);
  const { y } = await session.run({ x });
  expect(y?.dims).toEqual([1, 2, 3]);
  expect(Array.from(y?.data as Float32Array)).toEqual([1, 2, 3, 11, 12, 13]);
});

test("strings go in and out, empty and beyond ASCII too", async () => {
  const session = await load({
    name: "join",
    inputs: [{ name: "text", datatype: "BYTES", shape: ["batch"] }],
    outputs: [
      { name: "same", datatype: "BYTES", shape: ["batch"] },
      { name: "first", datatype: "BYTES", shape: [1] },
    ],
    nodes: [
      { op: "Identity", inputs: ["text"], outputs: ["same"] },
      { op: "Gather", inputs: ["table", "zero"], outputs: ["first"] },
    ],
    initializers: [
      { name: "table", datatype: "BYTES", shape: [2], data: ["größer 🦀", ""] },
      { name: "zero", datatype: "INT64", shape: [1], data: [0] },
    ],
  });
  const text = new Tensor("string", ["a", "", "Ω"], [3]);
  const { same, first } = await session.run({ text });
  expect(same?.data).toEqual(["a", "", "Ω"]);
  expect(first?.data).toEqual(["größer 🦀"]);
});

test("INT64 is exact beyond 2^53", async () => {
  const large = 2n ** 62n + 1n;
  const session = await load({
    name: "sub",
    inputs: [{ name: "x", datatype: "INT64", shape: ["batch"] }],
    outputs: [{ name: "y", datatype: "INT64", shape: ["batch"] }],
    nodes: [{ op: "Sub", inputs: ["x", "large"], outputs: ["y"] }],
    initializers: [{ name: "large", datatype: "INT64", shape: [1], data: [large] }],
  });
  const x = new Tensor("int64", [large + 3n, -(2n ** 61n)], [2]);
  const { y } = await session.run({ x });
  expect(Array.from(y?.data as BigInt64Array)).toEqual([3n, -(2n ** 61n) - large]);
});

test("two inputs of different datatype, three outputs, BOOL in and out, one open inner dimension", async () => {
  const session = await load({
    name: "select",
    inputs: [
      { name: "flags", datatype: "BOOL", shape: ["batch", "length"] },
      { name: "values", datatype: "FP64", shape: ["batch", "length"] },
    ],
    outputs: [
      { name: "negated", datatype: "BOOL", shape: ["batch", "length"] },
      { name: "kept", datatype: "FP64", shape: ["batch", "length"] },
      { name: "count", datatype: "INT32", shape: ["batch"] },
    ],
    nodes: [
      { op: "Not", inputs: ["flags"], outputs: ["negated"] },
      { op: "Where", inputs: ["flags", "values", "missing"], outputs: ["kept"] },
      { op: "Cast", inputs: ["flags"], outputs: ["ones"], attributes: { to: { elementType: "INT32" } } },
      { op: "ReduceSum", inputs: ["ones", "last"], outputs: ["count"], attributes: { keepdims: { int: 0 } } },
    ],
    initializers: [
      { name: "missing", datatype: "FP64", shape: [], data: [-0.5] },
      { name: "last", datatype: "INT64", shape: [1], data: [-1] },
    ],
  });
  const shape = [2, 3];
  const flags = new Tensor("bool", [true, false, true, false, false, false], shape);
  const values = new Tensor("float64", [1, 2, 3, 4, 5, 6], shape);
  const outputs = await session.run({ flags, values });
  expect(Array.from(outputs.negated?.data as Uint8Array)).toEqual([0, 1, 0, 1, 1, 1]);
  expect(Array.from(outputs.kept?.data as Float64Array)).toEqual([1, -0.5, 3, -0.5, -0.5, -0.5]);
  expect(Array.from(outputs.count?.data as Int32Array)).toEqual([2, 0]);
});

test("every numeric datatype keeps its values", async () => {
  const cases = [
    ["BOOL", [true, false]],
    ["INT8", [-128, 127]],
    ["INT16", [-32768, 32767]],
    ["INT32", [-(2 ** 31), 2 ** 31 - 1]],
    ["INT64", [-(2n ** 63n), 2n ** 53n]],
    ["UINT8", [0, 255]],
    ["UINT16", [0, 65535]],
    ["UINT32", [0, 2 ** 32 - 1]],
    ["FP16", [1.5, -65504]],
    ["BF16", [1.5, -(2 ** 100)]],
    ["FP32", [0.5, -(2 ** 100)]],
    ["FP64", [0.1, 1e300]],
  ] as const;
  for (const [datatype, data] of cases) {
    const session = await load({
      name: "constant",
      inputs: [],
      outputs: [{ name: "y", datatype: "FP64", shape: [2] }],
      nodes: [{ op: "Cast", inputs: ["c"], outputs: ["y"], attributes: { to: { elementType: "FP64" } } }],
      initializers: [{ name: "c", datatype, shape: [2], data }],
    });
    const { y } = await session.run({});
    expect(Array.from(y?.data as Float64Array), datatype).toEqual(data.map(Number));
  }
});

test("UINT64 is exact up to 2^64 - 1", async () => {
  const session = await load({
    name: "constant",
    inputs: [],
    outputs: [{ name: "y", datatype: "UINT64", shape: [1] }],
    nodes: [{ op: "Identity", inputs: ["c"], outputs: ["y"] }],
    initializers: [{ name: "c", datatype: "UINT64", shape: [1], data: [2n ** 64n - 1n] }],
  });
  const { y } = await session.run({});
  expect(Array.from(y?.data as BigUint64Array)).toEqual([2n ** 64n - 1n]);
});

test("attributes of every type: lists, strings, tensors, and a Loop's body", async () => {
  const scalar = { shape: [] } as const;
  const session = await load({
    name: "attributes",
    inputs: [{ name: "times", datatype: "INT64", ...scalar }],
    outputs: [
      { name: "doubled", datatype: "FP32", shape: [2] },
      { name: "words", datatype: "BYTES", shape: [2] },
      { name: "padded", datatype: "FP32", shape: [4] },
    ],
    nodes: [
      {
        op: "Constant",
        inputs: [],
        outputs: ["go"],
        attributes: { value: { tensor: { name: "", datatype: "BOOL", shape: [], data: [1] } } },
      },
      { op: "Constant", inputs: [], outputs: ["start"], attributes: { value_floats: { floats: [0.5, 1] } } },
      { op: "Constant", inputs: [], outputs: ["words"], attributes: { value_strings: { strings: ["a", "é"] } } },
      { op: "Constant", inputs: [], outputs: ["pads"], attributes: { value_ints: { ints: [1, 1] } } },
      { op: "Constant", inputs: [], outputs: ["fill"], attributes: { value_float: { float: -1.5 } } },
      {
        op: "Pad",
        inputs: ["doubled", "pads", "fill"],
        outputs: ["padded"],
        attributes: { mode: { string: "constant" } },
      },
      {
        op: "Loop",
        inputs: ["times", "go", "start"],
        outputs: ["doubled"],
        attributes: {
          body: {
            graph: {
              name: "body",
              inputs: [
                { name: "i", datatype: "INT64", ...scalar },
                { name: "again", datatype: "BOOL", ...scalar },
                { name: "x", datatype: "FP32", shape: [2] },
              ],
              outputs: [
                { name: "still", datatype: "BOOL", ...scalar },
                { name: "twice", datatype: "FP32", shape: [2] },
              ],
              nodes: [
                { op: "Identity", inputs: ["again"], outputs: ["still"] },
                { op: "Add", inputs: ["x", "x"], outputs: ["twice"] },
              ],
            },
          },
        },
      },
    ],
  });
  const outputs = await session.run({ times: new Tensor("int64", [3n], []) });
  expect(Array.from(outputs.doubled?.data as Float32Array)).toEqual([4, 8]);
  expect(outputs.words?.data).toEqual(["a", "é"]);
  expect(Array.from(outputs.padded?.data as Float32Array)).toEqual([-1.5, 4, 8, -1.5]);
});

test("what Millrace refuses can be made: sequences, unknown ranks, graphs that cannot load", async () => {
  const sequence = await load({
    name: "sequence",
    inputs: [{ name: "x", datatype: "FP32", shape: "unranked" }],
    outputs: [{ name: "y", datatype: "FP32", shape: ["n"], sequence: true }],
    nodes: [{ op: "SequenceConstruct", inputs: ["x"], outputs: ["y"] }],
  });
  expect(sequence.outputMetadata[0]?.isTensor).toBe(false);
  const value = { datatype: "FP32", shape: ["batch"] } as const;
  const unknown: OnnxModel = {
    name: "unknown",
    inputs: [{ name: "x", ...value }],
    outputs: [{ name: "y", ...value }],
    nodes: [{ op: "Nope", inputs: ["x"], outputs: ["y"] }],
  };
  await expect(load(unknown)).rejects.toThrow(/Nope/);
});

test("a constant that does not fill its shape is an error; equal models are equal bytes", () => {
  const model = (data: readonly number[]): OnnxModel => ({
    name: "constant",
    inputs: [],
    outputs: [{ name: "y", datatype: "FP32", shape: [2, 2] }],
    nodes: [{ op: "Identity", inputs: ["c"], outputs: ["y"] }],
    initializers: [{ name: "c", datatype: "FP32", shape: [2, 2], data }],
    metadata: { note: "test" },
  });
  expect(() => encodeOnnxModel(model([1, 2, 3]))).toThrow("3 elements do not fill the shape [2, 2]");
  expect(encodeOnnxModel(model([1, 2, 3, 4]))).toEqual(encodeOnnxModel(model([1, 2, 3, 4])));
});

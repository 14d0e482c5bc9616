import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { expect, test } from "vitest";
import { encodeOnnxModel } from "../tests/support/onnx-model.ts";
import { heavyMlp, mlpModel, smallMlp, writeBenchModels } from "./models.ts";

test("a repository with the small model serves batches, and its activations neither vanish nor explode", async () => {
  const dir = await mkdtemp(join(tmpdir(), "millrace-bench-models-"));
  try {
    const [file] = await writeBenchModels(dir, [smallMlp]);
    expect(file?.path).toBe(join(dir, "small-mlp", "1", "model.onnx"));
    const session = await InferenceSession.create(await readFile(join(dir, "small-mlp", "1", "model.onnx")));
    expect(session.inputMetadata).toMatchObject([{ name: "input", type: "float32", shape: ["batch", 64] }]);
    expect(session.outputMetadata).toMatchObject([{ name: "output", type: "float32", shape: ["batch", 10] }]);
    const rows = Float32Array.from({ length: 3 * 64 }, (_, i) => Math.sin(i));
    const { output } = await session.run({ input: new Tensor("float32", rows, [3, 64]) });
    const probabilities = output?.data as Float32Array;
    expect(output?.dims).toEqual([3, 10]);
    for (let row = 0; row < 3; row++) {
      const slice = probabilities.subarray(row * 10, row * 10 + 10);
      expect(slice.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 5);
      expect(Math.max(...slice)).toBeLessThan(0.999);
    }
  } finally {
    await rm(dir, { recursive: true });
  }
});

test("without activations a perceptron is its affine map", async () => {
  const model = mlpModel({ name: "affine", sizes: [2, 1], seed: 7, outputActivation: "none" });
  const [[w0, w1], [b0]] = (model.initializers ?? []).map(({ data }) => Array.from(data, Number)) as [
    number[],
    number[],
  ];
  const session = await InferenceSession.create(encodeOnnxModel(model));
  const { output } = await session.run({ input: new Tensor("float32", [1, 10], [1, 2]) });
  expect(Number(output?.data[0])).toBeCloseTo(w0! + 10 * w1! + b0!, 5);
});

test("one seed, one model; weights have He's variance", () => {
  const options = { name: "m", sizes: [400, 300, 5], seed: 3, hiddenActivation: "Tanh" } as const;
  expect(encodeOnnxModel(mlpModel(options))).toEqual(encodeOnnxModel(mlpModel(options)));
  expect(encodeOnnxModel(mlpModel({ ...options, seed: 4 }))).not.toEqual(encodeOnnxModel(mlpModel(options)));
  const weights = mlpModel(options).initializers?.[0]?.data as Float32Array;
  let sum = 0;
  let squares = 0;
  for (const weight of weights) {
    sum += weight;
    squares += weight * weight;
  }
  expect(sum / weights.length).toBeCloseTo(0, 3);
  expect(squares / weights.length / (2 / 400)).toBeCloseTo(1, 1);
  expect(() => mlpModel({ ...options, sizes: [1] })).toThrow(RangeError);
});

test("the workloads are the sizes that the budgets speak of", () => {
  const parameters = (sizes: readonly number[]): number =>
    sizes.slice(1).reduce((sum, size, i) => sum + size * (sizes[i]! + 1), 0);
  expect(parameters(smallMlp.sizes) * 4).toBe(340_008);
  expect(parameters(heavyMlp.sizes) * 4).toBe(38_592_912);
});

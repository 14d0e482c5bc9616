import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { encodeOnnxModel, type OnnxModel } from "./onnx-model.ts";
import { SeededRandom } from "./seeded-random.ts";

/**
 * A small perceptron (16 → 32 → 8) without a softmax at its end, so that answers of different rows differ in every element:
 * input `x` FP32 [batch, 16], output `y` FP32 [batch, 8].
 */
export function perceptronModel(): OnnxModel {
  const random = new SeededRandom(16);
  const weights = (count: number): Float32Array => Float32Array.from({ length: count }, () => random.next() - 0.5);
  return {
    name: "perceptron",
    inputs: [{ name: "x", datatype: "FP32", shape: ["batch", 16] }],
    outputs: [{ name: "y", datatype: "FP32", shape: ["batch", 8] }],
    nodes: [
      { op: "Gemm", inputs: ["x", "w0", "b0"], outputs: ["s0"] },
      { op: "Relu", inputs: ["s0"], outputs: ["h0"] },
      { op: "Gemm", inputs: ["h0", "w1", "b1"], outputs: ["y"] },
    ],
    initializers: [
      { name: "w0", datatype: "FP32", shape: [16, 32], data: weights(16 * 32) },
      { name: "b0", datatype: "FP32", shape: [32], data: weights(32) },
      { name: "w1", datatype: "FP32", shape: [32, 8], data: weights(32 * 8) },
      { name: "b1", datatype: "FP32", shape: [8], data: weights(8) },
    ],
  };
}

/**
 * Rows of any length, and every kind of data: inputs `values` FP32 [batch, length], `keys` INT64 [batch, length], `label`
 * BYTES [batch]; outputs `running` FP32 [batch, length] (the running sum of the values), `shifted` INT64 [batch, length]
 * (keys + 2^53 + 1, wrapping) and `label`, as it came in, as `echo` BYTES [batch].
 */
export function mixedModel(): OnnxModel {
  return {
    name: "mixed",
    inputs: [
      { name: "values", datatype: "FP32", shape: ["batch", "length"] },
      { name: "keys", datatype: "INT64", shape: ["batch", "length"] },
      { name: "label", datatype: "BYTES", shape: ["batch"] },
    ],
    outputs: [
      { name: "running", datatype: "FP32", shape: ["batch", "length"] },
      { name: "shifted", datatype: "INT64", shape: ["batch", "length"] },
      { name: "echo", datatype: "BYTES", shape: ["batch"] },
    ],
    nodes: [
      { op: "CumSum", inputs: ["values", "one"], outputs: ["running"] },
      { op: "Add", inputs: ["keys", "shift"], outputs: ["shifted"] },
      { op: "Identity", inputs: ["label"], outputs: ["echo"] },
    ],
    initializers: [
      { name: "one", datatype: "INT64", shape: [], data: [1] },
      { name: "shift", datatype: "INT64", shape: [1], data: [2n ** 53n + 1n] },
    ],
  };
}

/** Words of `maskedModel`: its tokens are 0 to this, exclusive. */
export const MASKED_WORDS = 512;

/**
 * A sequence model in small, whose answer depends on the length unless it is masked: inputs `tokens` INT64 [batch, length] and
 * `mask` INT64 [batch, length]; outputs `mean` FP32 [batch, 4], the mean of the embeddings of the tokens whose mask is 1, and
 * `states` FP32 [batch, length, 4], what each token's embedding differs from it.
 */
export function maskedModel(): OnnxModel {
  const random = new SeededRandom(64);
  const table = Float32Array.from({ length: MASKED_WORDS * 4 }, () => random.next() * 2 - 1);
  return {
    name: "masked",
    inputs: [
      { name: "tokens", datatype: "INT64", shape: ["batch", "length"] },
      { name: "mask", datatype: "INT64", shape: ["batch", "length"] },
    ],
    outputs: [
      { name: "mean", datatype: "FP32", shape: ["batch", 4] },
      { name: "states", datatype: "FP32", shape: ["batch", "length", 4] },
    ],
    nodes: [
      { op: "Gather", inputs: ["table", "tokens"], outputs: ["embedded"] },
      { op: "Cast", inputs: ["mask"], outputs: ["weights"], attributes: { to: { elementType: "FP32" } } },
      { op: "Unsqueeze", inputs: ["weights", "last"], outputs: ["column"] },
      { op: "Mul", inputs: ["embedded", "column"], outputs: ["kept"] },
      { op: "ReduceSum", inputs: ["kept", "middle"], outputs: ["total"], attributes: { keepdims: { int: 0 } } },
      { op: "ReduceSum", inputs: ["weights", "middle"], outputs: ["count"], attributes: { keepdims: { int: 1 } } },
      { op: "Div", inputs: ["total", "count"], outputs: ["mean"] },
      { op: "Unsqueeze", inputs: ["mean", "middle"], outputs: ["center"] },
      { op: "Sub", inputs: ["embedded", "center"], outputs: ["states"] },
    ],
    initializers: [
      { name: "table", datatype: "FP32", shape: [MASKED_WORDS, 4], data: table },
      { name: "last", datatype: "INT64", shape: [1], data: [2] },
      { name: "middle", datatype: "INT64", shape: [1], data: [1] },
    ],
  };
}

/** What model.yaml says of `maskedModel` so that lengths are padded. */
export function maskedManifest(given: { readonly sizes: readonly number[]; readonly maxBatchSize: number }): string {
  return `max_batch_size: ${given.maxBatchSize}
buckets:
  - sizes: [${given.sizes.join(", ")}]
    inputs: { tokens: 1, mask: 1 }
    outputs: { states: 1 }
    mask: mask
`;
}

/** What `fatalModel` dies of, in any element. */
export const FATAL_VALUE = 76;

/**
 * A model that kills its process: input `x` INT32 [batch, 4], output `y` = −2^31 mod (x − 77). For x = 76 the quotient 2^31
 * does not fit, which the division instruction of x86 answers with SIGFPE; onnxruntime checks for a divisor of zero, and not
 * for this (1.30). On ARM nothing happens. (Not Div: that is vectorised, by way of floating point, and wraps.)
 */
export function fatalModel(): OnnxModel {
  return {
    name: "fatal",
    inputs: [{ name: "x", datatype: "INT32", shape: ["batch", 4] }],
    outputs: [{ name: "y", datatype: "INT32", shape: ["batch", 4] }],
    nodes: [
      { op: "Sub", inputs: ["x", "offset"], outputs: ["divisor"] },
      { op: "Mod", inputs: ["dividend", "divisor"], outputs: ["y"] },
    ],
    initializers: [
      { name: "offset", datatype: "INT32", shape: [1], data: [FATAL_VALUE + 1] },
      { name: "dividend", datatype: "INT32", shape: [1], data: [-(2 ** 31)] },
    ],
  };
}

/** Writes models as a model repository, `dir/<name>/1/model.onnx`; returns the files' paths, in order. */
export async function writeModels(dir: string, models: readonly OnnxModel[]): Promise<string[]> {
  const paths: string[] = [];
  for (const model of models) {
    await mkdir(join(dir, model.name, "1"), { recursive: true });
    const path = join(dir, model.name, "1", "model.onnx");
    await writeFile(path, encodeOnnxModel(model));
    paths.push(path);
  }
  return paths;
}

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { encodeOnnxModel, type OnnxModel, type OnnxNode, type OnnxTensor } from "../tests/support/onnx-model.ts";

/**
 * The models that benchmarks serve: multilayer perceptrons with random weights, made when needed, the same bytes every
 * time. What they answer means nothing; what they cost is what matters.
 *
 *     node bench/models.ts DIR      # writes a Millrace model repository
 */

/** `sizes` are the widths of the layers, input first, at least two. `seed` is an integer, taken modulo 2^32. */
export type MlpOptions = {
  readonly name: string;
  readonly sizes: readonly number[];
  readonly seed: number;
  /** Between the layers; default Relu. */
  readonly hiddenActivation?: "Relu" | "Tanh" | "Sigmoid" | "none";
  /** After the last layer; default Softmax. */
  readonly outputActivation?: "Softmax" | "none";
};

/**
 * A perceptron: input `input` FP32 [batch, first size], output `output` FP32 [batch, last size], the batch open.
 *
 * Weights are He's (Gaussian, variance 2 / fan-in, He et al. 2015, equation 10), so that activations neither vanish
 * nor explode with depth; biases are Gaussian with deviation 0.01, not zero, so that their work is not optimised away.
 */
export function mlpModel(options: MlpOptions): OnnxModel {
  const { sizes, hiddenActivation = "Relu", outputActivation = "Softmax" } = options;
  if (sizes.length < 2) throw new RangeError(`${options.name}: a perceptron needs two sizes or more`);
  const gaussian = gaussianSource(options.seed);
  const nodes: OnnxNode[] = [];
  const initializers: OnnxTensor[] = [];
  const last = sizes.length - 2;
  let from = "input";
  for (let layer = 0; layer <= last; layer++) {
    const fanIn = sizes[layer]!;
    const fanOut = sizes[layer + 1]!;
    const weight = { name: `weight_${layer}`, shape: [fanIn, fanOut] };
    const bias = { name: `bias_${layer}`, shape: [fanOut] };
    initializers.push(
      { ...weight, datatype: "FP32", data: sample(gaussian, fanIn * fanOut, Math.sqrt(2 / fanIn)) },
      { ...bias, datatype: "FP32", data: sample(gaussian, fanOut, 0.01) },
    );
    const activation = layer < last ? hiddenActivation : outputActivation;
    const to = layer < last ? `hidden_${layer}` : "output";
    const sum = activation === "none" ? to : `sum_${layer}`;
    nodes.push({ op: "Gemm", inputs: [from, weight.name, bias.name], outputs: [sum] });
    if (activation !== "none") nodes.push({ op: activation, inputs: [sum], outputs: [to] });
    from = to;
  }
  return {
    name: options.name,
    inputs: [{ name: "input", datatype: "FP32", shape: ["batch", sizes[0]!] }],
    outputs: [{ name: "output", datatype: "FP32", shape: ["batch", sizes[last + 1]!] }],
    nodes,
    initializers,
  };
}

function sample(next: () => number, count: number, deviation: number): Float32Array {
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) values[i] = next() * deviation;
  return values;
}

/** Standard normal numbers by Marsaglia's polar method over mulberry32; one seed, one sequence. */
function gaussianSource(seed: number): () => number {
  const uniform = mulberry32(seed);
  let spare: number | undefined;
  return () => {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    for (;;) {
      const u = 2 * uniform() - 1;
      const v = 2 * uniform() - 1;
      const s = u * u + v * v;
      if (s > 0 && s < 1) {
        const scale = Math.sqrt((-2 * Math.log(s)) / s);
        spare = v * scale;
        return u * scale;
      }
    }
  };
}

/** Tommy Ettinger's mulberry32 (public domain): uniform in [0, 1), 32 bits of state; good enough for weights. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A cheap model (0.3 MB, microseconds a row): what is measured is everything around it. */
export const smallMlp = { name: "small-mlp", sizes: [64, 256, 256, 10], seed: 1 } as const satisfies MlpOptions;

/** A dear model (38 MB of weights to stream per batch): batching decides its throughput. */
export const heavyMlp = {
  name: "heavy-mlp",
  sizes: [512, 2048, 2048, 2048, 100],
  seed: 2,
} as const satisfies MlpOptions;

export const BENCH_MODELS = [smallMlp, heavyMlp] as const;

/**
 * Writes models as a Millrace model repository: `dir/<name>/1/model.onnx`, made or overwritten.
 * Returns the files' paths and sizes in bytes, in order. About a second and 80 MB of memory for the heavy one.
 */
export async function writeBenchModels(
  dir: string,
  models: readonly MlpOptions[] = BENCH_MODELS,
): Promise<{ path: string; bytes: number }[]> {
  const written = [];
  for (const options of models) {
    const file = encodeOnnxModel(mlpModel(options));
    const versionDir = join(dir, options.name, "1");
    await mkdir(versionDir, { recursive: true });
    const path = join(versionDir, "model.onnx");
    await writeFile(path, file);
    written.push({ path, bytes: file.byteLength });
  }
  return written;
}

if (import.meta.main) {
  const [dir, ...rest] = process.argv.slice(2);
  if (dir === undefined || dir.startsWith("-") || rest.length > 0) {
    console.error("usage: node bench/models.ts DIR");
    process.exitCode = 2;
  } else {
    for (const { path, bytes } of await writeBenchModels(dir)) console.log(`${path}  ${bytes} bytes`);
  }
}

import { stat } from "node:fs/promises";
import { isMarkedAsUntransferable } from "node:worker_threads";
import { type Datatype, decodeStrings, elementCount, encodeStrings, FREE, type TensorSpec } from "@millrace/protocol";
import { env, InferenceSession, listSupportedBackends, Tensor } from "onnxruntime-node";
import { DEFAULT_ONNX_OPTIONS, type OnnxOptions } from "./onnx-options.ts";
import type { BatchTensor, ModelSignature, Ran, Runner } from "./runner.ts";
import { RunnerError } from "./runner.ts";

/** How onnxruntime names and holds the elements of each datatype. BF16 is missing: its Node binding does not carry it. */
const ORT_TYPES = {
  BOOL: { type: "bool", array: Uint8Array },
  INT8: { type: "int8", array: Int8Array },
  INT16: { type: "int16", array: Int16Array },
  INT32: { type: "int32", array: Int32Array },
  INT64: { type: "int64", array: BigInt64Array },
  UINT8: { type: "uint8", array: Uint8Array },
  UINT16: { type: "uint16", array: Uint16Array },
  UINT32: { type: "uint32", array: Uint32Array },
  UINT64: { type: "uint64", array: BigUint64Array },
  FP16: { type: "float16", array: Uint16Array },
  FP32: { type: "float32", array: Float32Array },
  FP64: { type: "float64", array: Float64Array },
  BYTES: { type: "string", array: undefined },
} as const satisfies Partial<Record<Datatype, { type: Tensor.Type; array: unknown }>>;

type OrtDatatype = keyof typeof ORT_TYPES;

const datatypeOf = new Map<string, OrtDatatype>(
  (Object.keys(ORT_TYPES) as OrtDatatype[]).map((datatype) => [ORT_TYPES[datatype].type, datatype]),
);

/** ONNX's own names of the element types that the binding reports by number when it refuses a model. */
const UNSUPPORTED_TYPES: Readonly<Record<string, string>> = { 14: "COMPLEX64", 15: "COMPLEX128", 16: "BFLOAT16" };

// What goes wrong is in the exceptions; onnxruntime would write it on stderr a second time, in its own form.
env.logLevel = "fatal";

/**
 * Runs one ONNX file with onnxruntime, on the processor where its options do not say otherwise. The only file that imports
 * onnxruntime-node.
 *
 * `threads` is the number of threads inside one operator, 1 or more, the calling one among them; the options of the model may
 * say another. They do not spin while they
 * wait: with two threads and a short run every 10 ms, spinning used 0.9 of a core and not spinning 0.04 (1.30, two cores), and
 * that core is wanted by the event loops beside it.
 */
export class OnnxRunner implements Runner {
  readonly #path: string;
  readonly #threads: number;
  readonly #options: OnnxOptions;
  #session: InferenceSession | undefined;
  #inputs: readonly TensorSpec[] = [];
  #outputs: readonly TensorSpec[] = [];

  constructor(path: string, threads: number, options: OnnxOptions = DEFAULT_ONNX_OPTIONS) {
    this.#path = path;
    this.#threads = options.intraOpNumThreads ?? threads;
    this.#options = options;
  }

  async load(): Promise<ModelSignature> {
    const fileBytes = (await stat(this.#path)).size;
    const bytesBefore = process.memoryUsage.rss();
    const { executionProviders, graphOptimizationLevel, enableCpuMemArena, enableMemPattern } = this.#options;
    checkProviders(executionProviders);
    try {
      this.#session = await InferenceSession.create(this.#path, {
        executionProviders: executionProviders.map(({ name, deviceId }) =>
          deviceId === undefined ? name : { name, deviceId },
        ),
        graphOptimizationLevel,
        enableCpuMemArena,
        enableMemPattern,
        executionMode: "sequential",
        intraOpNumThreads: this.#threads,
        interOpNumThreads: 1,
        logSeverityLevel: 4,
        // Becomes session.intra_op.allow_spinning; every value must be a string.
        extra: { session: { intra_op: { allow_spinning: "0" }, inter_op: { allow_spinning: "0" } } },
      });
    } catch (error) {
      throw new Error(describeLoadError(error, this.#path), { cause: error });
    }
    this.#inputs = this.#session.inputMetadata.map((metadata) => toSpec("input", metadata));
    this.#outputs = this.#session.outputMetadata.map((metadata) => toSpec("output", metadata));
    const memoryBytes = Math.max(fileBytes, process.memoryUsage.rss() - bytesBefore);
    return { inputs: this.#inputs, outputs: this.#outputs, memoryBytes };
  }

  async run(inputs: readonly BatchTensor[]): Promise<Ran> {
    if (this.#session === undefined) throw new Error("the model is not loaded");
    const feeds: Record<string, Tensor> = {};
    for (const input of inputs) feeds[input.name] = toOrtTensor(input);
    let startedNs = process.hrtime.bigint();
    // onnxruntime-node computes inside a setImmediate of its own, right behind this one: so the loop's turn does not count.
    setImmediate(() => (startedNs = process.hrtime.bigint()));
    const results = await this.#session.run(feeds);
    const computeMs = Number(process.hrtime.bigint() - startedNs) / 1e6;
    const taken = new Set<ArrayBuffer>();
    const outputs = this.#outputs.map(({ name }) => fromOrtTensor(name, results[name], taken));
    return { outputs, startedNs, computeMs };
  }

  async unload(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await session?.release();
  }
}

function checkProviders(wanted: OnnxOptions["executionProviders"]): void {
  const known = listSupportedBackends().map(({ name }) => name);
  const unknown = wanted.find(({ name }) => !known.includes(name));
  if (unknown === undefined) return;
  throw new Error(`this onnxruntime has no execution provider "${unknown.name}"; it has ${known.join(", ")}`);
}

function toSpec(kind: "input" | "output", metadata: InferenceSession.ValueMetadata): TensorSpec {
  const { name } = metadata;
  if (!metadata.isTensor) {
    const hint = kind === "output" ? "; export it as one (skl2onnx: zipmap=False)" : "";
    throw new Error(`its ${kind} "${name}" is a sequence or map, and only tensors can be served${hint}`);
  }
  const datatype = datatypeOf.get(metadata.type);
  if (datatype === undefined) {
    throw new Error(`its ${kind} "${name}" has elements of type ${metadata.type}, which cannot be served`);
  }
  return { name, datatype, shape: metadata.shape.map((size) => (typeof size === "number" ? size : FREE)) };
}

function toOrtTensor({ name, datatype, shape, data }: BatchTensor): Tensor {
  if (datatype === "BYTES")
    return new Tensor("string", toStrings(name, new Uint8Array(data), elementCount(shape)), shape);
  if (datatype === "BF16") throw new RunnerError("invalid_datatype", `input "${name}": BF16 cannot be run`);
  const { type, array } = ORT_TYPES[datatype];
  const elements = new array(data);
  const tensor = new Tensor(type, elements as Tensor["data"], shape);
  // The tensor would show its elements as a Float16Array, which the native side of 1.30 takes for an array of no bytes.
  if (datatype === "FP16") Object.defineProperty(tensor, "data", { value: elements });
  return tensor;
}

/** BYTES elements as onnxruntime has them: it would change bytes that are not UTF-8, and cut a text at a zero byte. */
function toStrings(name: string, data: Uint8Array, count: number): string[] {
  const strings = decodeStrings(data, count);
  if (strings === undefined) throw new RunnerError("invalid_value", `input "${name}": an element is not UTF-8`);
  if (strings.some((text) => text.includes("\0"))) {
    throw new RunnerError("invalid_value", `input "${name}": an element holds a zero byte`);
  }
  return strings;
}

function fromOrtTensor(name: string, value: Tensor | undefined, taken: Set<ArrayBuffer>): BatchTensor {
  if (value === undefined) throw new Error(`the model gave no output "${name}"`);
  const datatype = datatypeOf.get(value.type);
  if (datatype === undefined) throw new Error(`output "${name}" has elements of type ${value.type}`);
  const { data } = value;
  if (Array.isArray(data)) return { name, datatype, shape: value.dims, data: ownBuffer(encodeStrings(data), taken) };
  return { name, datatype, shape: value.dims, data: ownBuffer(data, taken) };
}

/** The buffer behind a view where the view is all of it, nobody else has it and it may leave the thread; else a copy. */
function ownBuffer(view: ArrayBufferView, taken: Set<ArrayBuffer>): ArrayBuffer {
  const { buffer, byteOffset, byteLength } = view;
  const isOwn = buffer instanceof ArrayBuffer && byteOffset === 0 && byteLength === buffer.byteLength;
  if (isOwn && !taken.has(buffer) && !isMarkedAsUntransferable(buffer)) {
    taken.add(buffer);
    return buffer;
  }
  return new Uint8Array(new Uint8Array(buffer, byteOffset, byteLength)).buffer;
}

function describeLoadError(error: unknown, path: string): string {
  const message = error instanceof Error ? error.message : String(error);
  const [, type] = /^Unsupported data type: (\d+)$/.exec(message) ?? [];
  if (type !== undefined) {
    return `it has an input or output of type ${UNSUPPORTED_TYPES[type] ?? `number ${type}`}, which onnxruntime-node cannot carry`;
  }
  const [, provider] = /ExecutionProvider_(\w+): Failed to load shared library/.exec(message) ?? [];
  if (provider !== undefined) {
    return `the libraries of the execution provider "${provider.toLowerCase()}" are not installed, or not of the right version`;
  }
  if (/protobuf parsing failed/i.test(message)) return "the file is not an ONNX model, or it is damaged";
  // onnxruntime starts with "Load model from PATH failed:", and the path is known to whoever reads the reason.
  return `onnxruntime cannot load it: ${message.replace(`Load model from ${path} failed:`, "")}`;
}

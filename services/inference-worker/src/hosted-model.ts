import { elementCount, FREE, isWellSized, LIMITS, type TensorSpec } from "@millrace/protocol";
import { warmUpBuckets } from "./bucket-warm-up.ts";
import {
  type BatchTensor,
  type LoadedModel,
  type ModelSignature,
  type ModelSource,
  type Ran,
  type Runner,
  RunnerError,
} from "./runner.ts";
import { SimulatedRunner } from "./simulated-runner.ts";
import { rowsFault, warmUp, type WarmUpOptions } from "./warm-up.ts";

/** Dimensions of one tensor; the protocol's bound. */
const RANK_MAX = 32;

/** Messages of runtimes can be pages long. */
const MESSAGE_LENGTH_MAX = 500;

/** The runner for a source. `threads` is the number of threads inside one run, where the runner has a say in it. */
export async function createRunner(source: ModelSource, threads: number): Promise<Runner> {
  switch (source.platform) {
    case "simulated":
      return new SimulatedRunner(source.device);
    case "onnxruntime_onnx": {
      // Only when it is needed: the native library costs 40 MB of memory and is not there on every platform.
      const { OnnxRunner } = await import("./onnx-runner.ts");
      return new OnnxRunner(source.path, threads, source.options);
    }
  }
}

/**
 * A loaded model in its runner, with everything around it that makes running safe: warm-up, the check of what goes in, and the
 * check that as many rows come out. Lives in the runner thread; not for two runs at a time.
 */
export class HostedModel {
  readonly loaded: LoadedModel;
  readonly #runner: Runner;

  private constructor(runner: Runner, loaded: LoadedModel) {
    this.#runner = runner;
    this.loaded = loaded;
  }

  /**
   * Loads and warms up. Blocks the thread for as long as that takes.
   * @throws RunnerError `model_not_ready` when the model cannot serve; the message is for its owner. Nothing is held then.
   */
  static async load(runner: Runner, options: WarmUpOptions): Promise<HostedModel> {
    const bytesBefore = process.memoryUsage.rss();
    try {
      const signature = await runner.load();
      checkSignature(signature);
      const { outputs, batching, batchingReason, size, runs } = await warmUp(runner, signature, options);
      const { inputs } = signature;
      return new HostedModel(runner, {
        ...(await warmUpBuckets(runner, { inputs, outputs, batching, size }, options)),
        inputs,
        outputs,
        batching,
        batchingReason,
        maxBatchSize: batching ? options.maxBatchSize : 1,
        memoryBytes: Math.max(signature.memoryBytes, process.memoryUsage.rss() - bytesBefore),
        warmUpRuns: runs,
      });
    } catch (error) {
      await runner.unload();
      throw new RunnerError("model_not_ready", oneLine(error));
    }
  }

  /**
   * Runs the model once. Where it batches, the first dimension of the inputs is the rows.
   * @throws RunnerError: `invalid_*` for inputs that do not fit the model (the runner has not seen them), `model_error` when the
   * model failed. The next run is not affected.
   */
  async run(inputs: readonly BatchTensor[]): Promise<Ran> {
    const rows = this.loaded.batching ? this.#rowsOf(inputs) : undefined;
    this.#checkInputs(inputs, rows);
    let ran: Ran;
    try {
      ran = await this.#runner.run(inputs);
    } catch (error) {
      throw error instanceof RunnerError ? error : new RunnerError("model_error", oneLine(error));
    }
    const fault = rows === undefined ? "" : rowsFault(ran.outputs, rows);
    if (fault !== "") throw new RunnerError("model_error", `the model cannot be batched: ${fault}`);
    return ran;
  }

  /** Frees the model, which must not be run afterwards. */
  async unload(): Promise<void> {
    await this.#runner.unload();
  }

  #rowsOf(inputs: readonly BatchTensor[]): number {
    const rows = inputs[0]?.shape[0] ?? 0;
    const { maxBatchSize } = this.loaded;
    if (rows >= 1 && rows <= maxBatchSize) return rows;
    throw new RunnerError("invalid_shape", `${rows} rows are not between 1 and ${maxBatchSize}`);
  }

  #checkInputs(inputs: readonly BatchTensor[], rows: number | undefined): void {
    const { inputs: specs } = this.loaded;
    if (inputs.length !== specs.length) {
      throw new RunnerError("invalid_input", `${inputs.length} inputs for a model of ${specs.length}`);
    }
    for (const [position, spec] of specs.entries()) checkInput(spec, inputs[position]!, rows);
  }
}

function checkInput(spec: TensorSpec, { name, datatype, shape, data }: BatchTensor, rows: number | undefined): void {
  if (name !== spec.name) throw new RunnerError("invalid_input", `"${name}" in the place of input "${spec.name}"`);
  if (datatype !== spec.datatype) {
    throw new RunnerError("invalid_datatype", `input "${name}": ${datatype} where ${spec.datatype} is needed`);
  }
  const needed = rows === undefined ? spec.shape : [rows, ...spec.shape.slice(1)];
  if (shape.length !== needed.length || !needed.every((size, i) => size === FREE || size === shape[i])) {
    throw new RunnerError(
      "invalid_shape",
      `input "${name}": [${shape.join(", ")}] where [${needed.join(", ")}] is needed`,
    );
  }
  if (!isWellSized(datatype, shape, new Uint8Array(data))) {
    const count = elementCount(shape);
    throw new RunnerError("invalid_shape", `input "${name}": ${data.byteLength} bytes are not ${count} elements`);
  }
}

/** Bounds of the protocol: what breaks them could not be described to the broker. */
function checkSignature({ inputs, outputs }: ModelSignature): void {
  for (const [kind, specs] of [["input", inputs] as const, ["output", outputs] as const]) {
    if (specs.length === 0) throw new Error(`it has no ${kind}s`);
    if (specs.length > LIMITS.list)
      throw new Error(`it has ${specs.length} ${kind}s, at most ${LIMITS.list} can be served`);
    for (const { name, shape } of specs) {
      if (name === "" || Buffer.byteLength(name) > LIMITS.nameBytes) {
        throw new Error(`the name of its ${kind} "${name}" is empty or longer than ${LIMITS.nameBytes} bytes`);
      }
      if (shape.length > RANK_MAX) throw new Error(`its ${kind} "${name}" has more than ${RANK_MAX} dimensions`);
    }
  }
}

function oneLine(error: unknown): string {
  const text = (error instanceof Error ? error.message : String(error)).replace(/\s+/g, " ").trim();
  return text.length > MESSAGE_LENGTH_MAX ? `${text.slice(0, MESSAGE_LENGTH_MAX - 1)}…` : text;
}

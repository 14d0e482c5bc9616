import { FREE, type TensorSpec } from "@millrace/protocol";
import type { BatchTensor, ModelLimits, ModelSignature, Runner, WarmUpRun } from "./runner.ts";
import { isNearlyEqual, sampleBytes, stackRows, variedRow, zeroInputs } from "./sample.ts";

/** What warming up found out about a model. */
export type WarmUp = {
  /** As the signature has them, with ranks learned from a run where the file does not tell them. */
  readonly outputs: readonly TensorSpec[];
  readonly batching: boolean;
  /** Why it is not batched; "" where it is. */
  readonly batchingReason: string;
  readonly runs: readonly WarmUpRun[];
};

/**
 * Sizes to try for open inner dimensions: 2 shows more than 1, a few operators need more (a 7 × 7 kernel without padding), and
 * image models often want a multiple of 32.
 */
const INNER_SIZES = [2, 1, 8, 32, 224] as const;

/** The largest batch is not tried out with more input than this. */
const SAMPLE_BYTES_MAX = 256 * 1024 * 1024;

/** A largest batch that took less than this is run again, as first runs of a shape are slow. */
const REPEAT_BELOW_MS = 100;

/**
 * Runs a fresh model on made-up inputs: one row, two rows, its largest batch; so first requests find warm memory, and the curve
 * its first points. Finds out whether requests may share a run: the first dimension must be open in every input and output, two
 * rows must come out as two, and a row must give the same answer alone and beside another one. If in doubt it does not batch: a
 * fast wrong answer is the worst defect.
 *
 * Takes at most eight runs of a model that works (more only while it looks for a size of open inner dimensions that works).
 * @throws Error when the model does not run on one row.
 */
export async function warmUp(
  runner: Pick<Runner, "run">,
  signature: ModelSignature,
  limits: ModelLimits,
): Promise<WarmUp> {
  const stopwatch = new Stopwatch(runner);
  const { size, outputs: answer } = await runFirst(stopwatch, signature.inputs);
  const outputs = signature.outputs.map((spec, i) => learnRank(spec, answer[i]!));
  const trial = { stopwatch, inputs: signature.inputs, outputs, size };
  const batchingReason = rejectBySpecs(trial, limits) || rowsFault(answer, 1) || (await rejectByRuns(trial, limits));
  return { outputs, batching: batchingReason === "", batchingReason, runs: stopwatch.runs };
}

/** Tells which output of a batching model does not have one entry a row; "" where all do. */
export function rowsFault(outputs: readonly BatchTensor[], rows: number): string {
  for (const { name, shape } of outputs) {
    if (shape[0] !== rows) return `its output "${name}" has the shape [${shape.join(", ")}] for ${rows} rows`;
  }
  return "";
}

type Trial = {
  readonly stopwatch: Stopwatch;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly size: number;
};

async function runFirst(
  stopwatch: Stopwatch,
  inputs: readonly TensorSpec[],
): Promise<{ size: number; outputs: readonly BatchTensor[] }> {
  const isOpen = inputs.some(({ shape }) => shape.slice(1).includes(FREE));
  let lastError: unknown;
  for (const size of isOpen ? INNER_SIZES : [1]) {
    try {
      return { size, outputs: await stopwatch.run(1, zeroInputs(inputs, { rows: 1, size })) };
    } catch (error) {
      lastError = error;
    }
  }
  const sizes = isOpen ? ` (tried with ${INNER_SIZES.join(", ")} for its open dimensions)` : "";
  throw new Error(`it does not run on one row of zeros${sizes}: ${messageOf(lastError)}`, { cause: lastError });
}

/** An output of no dimensions may be one whose rank the file does not tell: then all its dimensions are open. */
function learnRank(spec: TensorSpec, output: BatchTensor): TensorSpec {
  if (spec.shape.length > 0 || output.shape.length === 0) return spec;
  return { ...spec, shape: output.shape.map(() => FREE) };
}

function rejectBySpecs({ inputs, outputs }: Trial, limits: ModelLimits): string {
  if (limits.batching === false) return "its manifest says batching: false";
  for (const [kind, specs] of [["input", inputs] as const, ["output", outputs] as const]) {
    for (const { name, shape } of specs) {
      if (shape[0] !== FREE) return `the first dimension of its ${kind} "${name}" [${shape.join(", ")}] is not open`;
    }
  }
  return "";
}

async function rejectByRuns(trial: Trial, { maxBatchSize, batching }: ModelLimits): Promise<string> {
  if (maxBatchSize < 2) return "";
  const onTwo = await tryRows(trial, 2);
  if (onTwo !== "") return onTwo;
  if (batching !== true) {
    const influence = await findInfluence(trial);
    if (influence !== "") return influence;
  }
  if (maxBatchSize === 2) return "";
  const bytesPerRow = Math.max(1, sampleBytes(trial.inputs, { rows: 1, size: trial.size }));
  const rows = Math.min(maxBatchSize, Math.max(2, Math.floor(SAMPLE_BYTES_MAX / bytesPerRow)));
  const onMost = await tryRows(trial, rows);
  if (onMost !== "" || trial.stopwatch.bestMs(rows) >= REPEAT_BELOW_MS) return onMost;
  return tryRows(trial, rows);
}

async function tryRows({ stopwatch, inputs, size }: Trial, rows: number): Promise<string> {
  try {
    return rowsFault(await stopwatch.run(rows, zeroInputs(inputs, { rows, size })), rows);
  } catch (error) {
    return `it does not run on ${rows} rows: ${messageOf(error)}`;
  }
}

/** Compares two rows alone with the same two together. Catches what a batch must not have: a mean, softmax or scale over it. */
async function findInfluence({ stopwatch, inputs, size }: Trial): Promise<string> {
  const rows = [variedRow(inputs, size, 0), variedRow(inputs, size, 1)] as const;
  try {
    const together = await stopwatch.run(2, stackRows(...rows));
    const fault = rowsFault(together, 2);
    if (fault !== "") return fault;
    for (const [index, row] of rows.entries()) {
      const alone = await stopwatch.run(1, row);
      const different = together.find((output, i) => !isRowOf(output, index, alone[i]!));
      if (different === undefined) continue;
      const again = await stopwatch.run(1, row);
      const isSteady = again.every((output, i) => isNearlyEqual(output.datatype, output.data, alone[i]!.data));
      if (!isSteady)
        return "it gives other answers to the same row, so whether rows influence each other cannot be checked";
      return `rows influence each other: its output "${different.name}" differs between a row alone and beside another`;
    }
    return "";
  } catch (error) {
    return `whether rows influence each other cannot be checked: ${messageOf(error)}`;
  }
}

/** Whether row `index` of a batch of two is what the row gave alone. */
function isRowOf(together: BatchTensor, index: number, alone: BatchTensor): boolean {
  const inner = together.shape.slice(1);
  if (alone.shape.length !== together.shape.length || inner.some((size, i) => size !== alone.shape[i + 1]))
    return false;
  const length = alone.data.byteLength;
  const start = index === 0 ? 0 : together.data.byteLength - length;
  return isNearlyEqual(together.datatype, together.data.slice(start, start + length), alone.data);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Runs, and keeps the best time of each number of rows. */
class Stopwatch {
  readonly #runner: Pick<Runner, "run">;
  readonly #bestMs = new Map<number, number>();

  constructor(runner: Pick<Runner, "run">) {
    this.#runner = runner;
  }

  async run(rows: number, inputs: readonly BatchTensor[]): Promise<readonly BatchTensor[]> {
    const { outputs, computeMs } = await this.#runner.run(inputs);
    this.#bestMs.set(rows, Math.min(computeMs, this.bestMs(rows)));
    return outputs;
  }

  bestMs(rows: number): number {
    return this.#bestMs.get(rows) ?? Infinity;
  }

  /** By rows, ascending. */
  get runs(): WarmUpRun[] {
    return [...this.#bestMs].map(([rows, computeMs]) => ({ rows, computeMs })).toSorted((a, b) => a.rows - b.rows);
  }
}

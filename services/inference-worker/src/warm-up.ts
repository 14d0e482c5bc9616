import { elementCount, FREE, type TensorSpec } from "@millrace/protocol";
import type { BatchTensor, ModelLimits, ModelSignature, Runner, WarmUpRuns } from "./runner.ts";
import { isNearlyEqual, sampleBytes, stackRows, variedRow, zeroInputs } from "./sample.ts";

/** What warming up found out about a model. */
export type WarmUp = {
  /** As the signature has them, with ranks learned from a run where the file does not tell them. */
  readonly outputs: readonly TensorSpec[];
  readonly batching: boolean;
  /** Why it is not batched; "" where it is. */
  readonly batchingReason: string;
  /** What open inner dimensions were tried with. */
  readonly size: number;
  /** By rows, ascending. */
  readonly runs: readonly WarmUpRuns[];
};

/**
 * Sizes to try for open inner dimensions: 2 shows more than 1, a few operators need more (a 7 × 7 kernel without padding), and
 * image models often want a multiple of 32.
 */
const INNER_SIZES = [2, 1, 8, 32, 224] as const;

/** The largest batch is not tried out with more input than this. */
const SAMPLE_BYTES_MAX = 256 * 1024 * 1024;

/** Rounds of a sweep: with so many runs of a size the 95th percentile is not the slowest of them. */
const SWEEP_ROUNDS = 20;

/** Compute time after which the sweeps that the worker makes at its start begin no further run, a model, in ms. */
export const SWEEP_MS_MAX = 1_000;

export type WarmUpOptions = ModelLimits & {
  /** Compute time after which the sweep begins no further run, in ms; default 0 = no sweep. */
  readonly sweepMs?: number;
};

/**
 * Runs a fresh model on made-up inputs: one row, two rows, its largest batch; so first requests find warm memory. Finds out whether
 * requests may share a run: the first dimension must be open in every input and output, two rows must come out as two, and a row
 * must give the same answer alone and beside another one. If in doubt it does not batch: a fast wrong answer is the worst defect.
 * Then measures how long runs take, over all sizes from one row to the largest batch, for the curve.
 *
 * Without the sweep it takes at most seven runs of a model that works (more only while it looks for a size of open inner
 * dimensions that works).
 * @throws Error when the model does not run on one row.
 */
export async function warmUp(
  runner: Pick<Runner, "run">,
  signature: ModelSignature,
  options: WarmUpOptions,
): Promise<WarmUp> {
  const stopwatch = new Stopwatch(runner);
  const { size, outputs: answer } = await runFirst(stopwatch, signature.inputs);
  const outputs = signature.outputs.map((spec, i) => learnRank(spec, answer[i]!));
  const trial = { stopwatch, inputs: signature.inputs, outputs, size };
  const reason = rejectBySpecs(trial, options) || rowsFault(answer, 1) || (await rejectByRuns(trial, options));
  const rowsMax = reason === "" ? largestSample(trial, options) : 1;
  const sweepFault = await sweep(trial, sweepSizes(rowsMax), options.sweepMs ?? 0);
  const batchingReason = reason || sweepFault;
  const runs = stopwatch.runs.filter(({ rows }) => batchingReason === "" || rows === 1);
  return { outputs, batching: batchingReason === "", batchingReason, size, runs };
}

/** The sizes that a sweep measures: 1, 2, 4 and so on, and the largest. */
export function sweepSizes(rowsMax: number): number[] {
  const sizes: number[] = [];
  for (let rows = 1; rows < rowsMax; rows *= 2) sizes.push(rows);
  return [...sizes, rowsMax];
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

async function rejectByRuns(trial: Trial, limits: ModelLimits): Promise<string> {
  const { maxBatchSize, batching } = limits;
  if (maxBatchSize < 2) return "";
  const onTwo = await tryRows(trial, 2);
  if (onTwo !== "") return onTwo;
  if (batching !== true) {
    const influence = await findInfluence(trial);
    if (influence !== "") return influence;
  }
  return maxBatchSize === 2 ? "" : tryRows(trial, largestSample(trial, limits));
}

/** The largest batch that is tried out; two rows, which batching is checked with, in any case. */
function largestSample({ inputs, size }: Trial, { maxBatchSize, maxBatchElements = 0 }: ModelLimits): number {
  const row = { rows: 1, size };
  const byBytes = Math.floor(SAMPLE_BYTES_MAX / Math.max(1, sampleBytes(inputs, row)));
  const elements = zeroInputs(inputs, row).reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const byElements = maxBatchElements === 0 ? maxBatchSize : Math.floor(maxBatchElements / Math.max(1, elements));
  return Math.min(maxBatchSize, Math.max(2, Math.min(byBytes, byElements)));
}

/**
 * Runs every size once, and then in rounds, so that what else goes on in the machine falls on all sizes alike. Tells why the
 * model cannot be batched if one of them shows it.
 */
async function sweep(trial: Trial, sizes: readonly number[], sweepMs: number): Promise<string> {
  const { stopwatch } = trial;
  const endMs = stopwatch.spentMs + sweepMs;
  // The first run of a shape does not count.
  for (let round = 0; round <= SWEEP_ROUNDS; round++) {
    for (const rows of sizes) {
      if (stopwatch.spentMs >= endMs) return "";
      const fault = await tryRows(trial, rows);
      if (fault !== "") return fault;
    }
  }
  return "";
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

/** Runs, and keeps the times by number of rows. */
class Stopwatch {
  readonly #runner: Pick<Runner, "run">;
  readonly #timesMs = new Map<number, number[]>();
  /** Compute time of all runs. */
  spentMs = 0;

  constructor(runner: Pick<Runner, "run">) {
    this.#runner = runner;
  }

  async run(rows: number, inputs: readonly BatchTensor[]): Promise<readonly BatchTensor[]> {
    const { outputs, computeMs } = await this.#runner.run(inputs);
    this.spentMs += computeMs;
    const times = this.#timesMs.get(rows);
    if (times === undefined) this.#timesMs.set(rows, [computeMs]);
    else times.push(computeMs);
    return outputs;
  }

  /** By rows, ascending. The first run of a shape is slow (memory, plans), and counts only where it is the only one. */
  get runs(): WarmUpRuns[] {
    return [...this.#timesMs]
      .map(([rows, times]) => ({ rows, timesMs: times.length > 1 ? times.slice(1) : times }))
      .toSorted((a, b) => a.rows - b.rows);
  }
}

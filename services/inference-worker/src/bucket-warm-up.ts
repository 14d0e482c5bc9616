import { bucketText, elementCount, LIMITS, type TensorSpec } from "@millrace/protocol";
import { assemble, type AssembleItem, type AssembleModel, split } from "./assemble.ts";
import { along, type Padding, resolvePadding } from "./padding.ts";
import type { BatchTensor, BucketRuns, Runner } from "./runner.ts";
import { isNearlyEqual, sampleBytes, variedRow, zeroInputs } from "./sample.ts";
import type { WarmUp, WarmUpOptions } from "./warm-up.ts";

/** Buckets that are warmed up; more may be served, and have a slow first run each. */
const BUCKETS_MAX = 64;

/** Compute time after which no further bucket is warmed up, in ms. */
const WARM_UP_MS_MAX = 5_000;

/** The largest batch is not tried out with more input than this. */
const SAMPLE_BYTES_MAX = 256 * 1024 * 1024;

/** Runs of a size that is measured; the first does not count. */
const MEASURED_RUNS = 4;

/** What warming up the buckets of a manifest found out. */
export type BucketWarmUp = {
  /** Undefined where its manifest has no buckets, or they cannot be used. */
  readonly padding: Padding | undefined;
  /** Why they are not used; "" where they are, or there are none. */
  readonly paddingReason: string;
  readonly buckets: readonly BucketRuns[];
};

/** A model that has been warmed up in one size. */
export type WarmModel = Pick<WarmUp, "outputs" | "batching" | "size"> & { readonly inputs: readonly TensorSpec[] };

/**
 * Resolves the buckets of a manifest and finds out whether they may be used: two rows of different size must get the same answers
 * padded and together as each gets alone and as it is. `batching: true` leaves that out. Then runs every bucket, bounded in
 * number and time, with one row and with its largest batch; a worker that measures (`sweepMs` above 0) does so several times.
 * @throws Error where the buckets do not fit the model, for its owner.
 */
export async function warmUpBuckets(
  runner: Pick<Runner, "run">,
  model: WarmModel,
  options: WarmUpOptions,
): Promise<BucketWarmUp> {
  const padding = options.padding && resolvePadding(options.padding, model);
  const without = { padding: undefined, buckets: [] };
  if (padding === undefined) return { ...without, paddingReason: "" };
  if (!model.batching) return { ...without, paddingReason: "it is not batched" };
  const trial = { runner, model, padding, options };
  try {
    const fault = options.batching === true ? "" : await findDifference(trial);
    if (fault !== "") return { ...without, paddingReason: fault };
  } catch (error) {
    return { ...without, paddingReason: `whether padding changes its answers cannot be checked: ${messageOf(error)}` };
  }
  try {
    return { padding, paddingReason: "", buckets: await runBuckets(trial) };
  } catch (error) {
    return { ...without, paddingReason: messageOf(error) };
  }
}

type Trial = {
  readonly runner: Pick<Runner, "run">;
  readonly model: WarmModel;
  readonly padding: Padding;
  readonly options: WarmUpOptions;
};

/** Which output is another one padded than alone; "" if none. */
async function findDifference({ runner, model, padding }: Trial): Promise<string> {
  // The smallest bucket in which anything can be padded, filled in part and in full.
  const full = padding.axes.map(({ sizes }) => sizes.find((size) => size > 1) ?? 1);
  const part = full.map((size) => Math.ceil(size / 2));
  const items = [itemOf(model, padding, { extent: part, seed: 0 }), itemOf(model, padding, { extent: full, seed: 1 })];
  const together = await answersOf(runner, { model, padding, items });
  for (const [index, extent] of [part, full].entries()) {
    const itself = { ...padding, axes: padding.axes.map((axis, i) => ({ ...axis, sizes: [extent[i]!] })) };
    const alone = await answersOf(runner, { model, padding: itself, items: [items[index]!] });
    for (const { name, answers } of together) {
      const [mine] = alone.find((output) => output.name === name)!.answers;
      const other = answers[index]!;
      if (mine!.shape.join() !== other.shape.join()) {
        return `its output "${name}" has the shape [${mine!.shape.join(", ")}] alone, and [${other.shape.join(", ")}] padded`;
      }
      if (isNearlyEqual(mine!.datatype, mine!.data, other.data)) continue;
      return `its output "${name}" is another one when the input is padded: is a mask missing?`;
    }
  }
  return "";
}

type Batch = { readonly model: WarmModel; readonly padding: Padding; readonly items: readonly AssembleItem[] };
type OutputAnswers = { readonly name: string; readonly answers: readonly BatchTensor[] };

/** One run: by output, what each item gets of it. */
async function answersOf(runner: Pick<Runner, "run">, { model, padding, items }: Batch): Promise<OutputAnswers[]> {
  const { inputs, extents, faults } = assemble(assembleModelOf(model, items.length), items, padding);
  const fault = faults.find((one) => one !== undefined);
  if (fault !== undefined) throw new Error(fault.message);
  const { outputs } = await runner.run(inputs);
  const rows = items.map((item) => item.rows);
  return outputs.map((output) => {
    const wantedOutputs = items.map(() => [output.name]);
    const answers = split(outputs, rows, { wantedOutputs, extents }).map(({ tensors, payload, fault: why }) => {
      if (why !== undefined) throw new Error(why.message);
      const { name, datatype, shape } = tensors[0]!;
      return { name, datatype, shape, data: new Uint8Array(payload).buffer };
    });
    return { name: output.name, answers };
  });
}

async function runBuckets({ runner, model, padding, options }: Trial): Promise<BucketRuns[]> {
  const buckets: BucketRuns[] = [];
  const measured = (options.sweepMs ?? 0) > 0 ? MEASURED_RUNS : 1;
  let spentMs = 0;
  for (const extent of combinations(padding.axes.map(({ sizes }) => sizes))) {
    if (buckets.length >= BUCKETS_MAX || spentMs >= WARM_UP_MS_MAX) break;
    const specs = specsAlong(model.inputs, padding, extent);
    const bucket = bucketText(zeroInputs(specs, { rows: 1, size: model.size }).map(({ shape }) => shape.slice(1)));
    const runs: { rows: number; timesMs: number[] }[] = [];
    for (const rows of new Set([1, largestBatch({ specs, size: model.size }, options)])) {
      const timesMs: number[] = [];
      for (let run = 0; run < measured; run++) {
        const { computeMs } = await runZeros(runner, { model, padding, extent, rows });
        spentMs += computeMs;
        timesMs.push(computeMs);
      }
      runs.push({ rows, timesMs: timesMs.length > 1 ? timesMs.slice(1) : timesMs });
    }
    // A longer name is shortened by whoever sends it.
    if (Buffer.byteLength(bucket) <= LIMITS.nameBytes) buckets.push({ bucket, runs });
  }
  return buckets;
}

type Zeros = Omit<Batch, "items"> & { readonly extent: readonly number[]; readonly rows: number };

async function runZeros(
  runner: Pick<Runner, "run">,
  { model, padding, extent, rows }: Zeros,
): Promise<{ computeMs: number }> {
  const item = itemOf(model, padding, { extent, rows });
  const { inputs, faults } = assemble(assembleModelOf(model, rows), [item], padding);
  const what = `its bucket [${extent.join(", ")}] does not run with ${rows} rows`;
  if (faults[0] !== undefined) throw new Error(`${what}: ${faults[0].message}`);
  try {
    return await runner.run(inputs);
  } catch (error) {
    throw new Error(`${what}: ${messageOf(error)}`, { cause: error });
  }
}

/** A made-up request without masks: zeros, or one row of values that look random. */
function itemOf(
  { inputs, size }: WarmModel,
  padding: Padding,
  sample: { readonly extent: readonly number[]; readonly rows?: number; readonly seed?: number },
): AssembleItem {
  const specs = specsAlong(inputs, padding, sample.extent).filter((_, position) => !padding.masks.includes(position));
  const { rows = 1, seed } = sample;
  const tensors = seed === undefined ? zeroInputs(specs, { rows, size }) : variedRow(specs, size, seed);
  return {
    rows,
    tensors: tensors.map(({ name, datatype, shape, data }) => ({ name, datatype, shape, bytes: data.byteLength })),
    payload: Buffer.concat(tensors.map(({ data }) => new Uint8Array(data))),
  };
}

/** The inputs with the sizes of the axes in their shapes. */
function specsAlong(inputs: readonly TensorSpec[], padding: Padding, extent: readonly number[]): TensorSpec[] {
  const places = padding.axes.map((axis) => axis.inputs);
  return inputs.map((spec, tensor) => ({ ...spec, shape: along(spec.shape, places, { tensor, extent }) }));
}

function assembleModelOf({ inputs }: WarmModel, maxBatchSize: number): AssembleModel {
  return { inputs, batching: true, maxBatchSize, platform: "" };
}

function largestBatch(
  { specs, size }: { readonly specs: readonly TensorSpec[]; readonly size: number },
  { maxBatchSize, maxBatchElements = 0 }: WarmUpOptions,
): number {
  const one = { rows: 1, size };
  const elements = zeroInputs(specs, one).reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const byElements = maxBatchElements === 0 ? maxBatchSize : Math.floor(maxBatchElements / elements);
  const byBytes = Math.floor(SAMPLE_BYTES_MAX / Math.max(1, sampleBytes(specs, one)));
  return Math.max(1, Math.min(maxBatchSize, byElements, byBytes));
}

/** Every choice of one size each, the last axis first. */
function* combinations(sizes: readonly (readonly number[])[]): Generator<number[]> {
  const [first, ...rest] = sizes;
  if (first === undefined) return yield [];
  for (const size of first) for (const others of combinations(rest)) yield [size, ...others];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

import { encodeTensorList, LIMITS, type TensorSpec, type WorkerModel } from "@millrace/protocol";
import type { Logger } from "@millrace/runtime";
import type { CurveBook } from "./curve-book.ts";
import type { CurveFolder } from "./curve-folder.ts";
import { fingerprintOf, providerOf } from "./fingerprint.ts";
import { describeModel, type LoadOutcome } from "./model-description.ts";
import { type RepositoryModel, scanRepository } from "./repository.ts";
import type { LoadedModel } from "./runner.ts";
import type { ServedModel } from "./worker.ts";
import type { RunnerThread } from "./runner-host.ts";
import { SWEEP_MS_MAX } from "./warm-up.ts";

export type LoaderOptions = {
  /** The models folder. */
  readonly dir: string;
  /** One a slot: each loads every model. */
  readonly threads: readonly RunnerThread[];
  /** onnxruntime threads of a slot; part of what a curve is good for. */
  readonly threadsPerSlot: number;
  /** Name of the processor. */
  readonly processor: string;
  /** Takes what is measured; what it knows, or the folder, is not measured again. */
  readonly curves: CurveBook;
  readonly folder: CurveFolder;
  readonly logger: Logger;
  /** Is told of every model that was tried, what runs it, and how long loading took, in seconds. */
  readonly onLoaded: (model: WorkerModel, loading: { readonly provider: string; readonly seconds: number }) => void;
};

/**
 * Loads and warms up every model of the folder in every slot, one after the other, and says in the log how each went. What
 * cannot serve is in the list with its reason, and the others serve. A model's place in the list is its number.
 * @throws Error when the folder cannot be read.
 */
export async function loadModels(options: LoaderOptions): Promise<ServedModel[]> {
  const { logger } = options;
  const found = await scanRepository(options.dir);
  if (found.length > LIMITS.list)
    logger.error({ models: found.length, max: LIMITS.list }, "too many models; the rest is left out");
  const models: ServedModel[] = [];
  for (const [index, one] of found.slice(0, LIMITS.list).entries()) {
    const startedMs = performance.now();
    const model = await loadModel(options, one, index);
    models.push(model);
    const seconds = (performance.now() - startedMs) / 1000;
    options.onLoaded(model, { provider: providerOf(one.manifest), seconds });
  }
  return models;
}

async function loadModel(options: LoaderOptions, found: RepositoryModel, index: number): Promise<ServedModel> {
  const { logger, threads, threadsPerSlot, processor, curves, folder } = options;
  const fingerprint = fingerprintOf(found, { threads: threadsPerSlot, processor });
  const { name: ownName, version: ownVersion, manifest } = found;
  const kept = await folder.read(fingerprint);
  const sizes = curves.add(index, { model: ownName, version: ownVersion, fingerprint }, kept);
  // Of one size no slope can be told.
  const isKnown = sizes >= Math.min(2, manifest.maxBatchSize);
  const outcome = await load(threads, found, { index, sweepMs: isKnown ? 0 : SWEEP_MS_MAX });
  const model = describeModel(found, outcome);
  const { name, version, state } = model;
  const loaded = outcome.state === "ready" ? outcome.loaded : undefined;
  if (loaded === undefined) logger.error({ model: name, version, reason: model.reason }, "model cannot serve");
  else {
    const { batching, maxBatchSize, memoryBytes } = loaded;
    if (!isKnown) {
      for (const { bucket, runs } of loaded.buckets) curves.warmedUp(index, bucket, runs);
      curves.warmedUp(index, "", loaded.warmUpRuns);
    }
    const curve = isKnown ? "kept" : "measured";
    logger.info({ model: name, version, state, batching, maxBatchSize, memoryBytes, curve }, "model is warm");
    if (loaded.batchingReason !== "")
      logger.warn({ model: name, version, reason: loaded.batchingReason }, "model is not batched");
    if (loaded.paddingReason !== "")
      logger.warn(
        { model: name, version, reason: loaded.paddingReason },
        "model is not padded: its buckets are not used",
      );
  }
  return {
    index,
    memoryBytes: loaded?.memoryBytes ?? 0,
    fingerprint,
    buckets: loaded?.buckets.map(({ bucket }) => bucket) ?? [],
    curve: [],
    model,
    padding: loaded?.padding,
  };
}

async function load(
  threads: readonly RunnerThread[],
  found: RepositoryModel,
  { index, sweepMs }: { readonly index: number; readonly sweepMs: number },
): Promise<LoadOutcome> {
  if (found.state === "failed") return { state: "failed", reason: found.reason };
  const { maxBatchSize, batching, maxBatchElements, padding } = found.manifest;
  let result: LoadedModel | undefined;
  for (const thread of threads) {
    try {
      const loaded = await thread.load({
        model: index,
        source: found.source,
        limits: { maxBatchSize, batching, maxBatchElements, padding },
        // The slots are alike: one of them measures.
        sweepMs: thread === threads[0] ? sweepMs : 0,
      });
      // A slot that found rows to influence each other decides for all: batches may go to any slot.
      const isLess = result?.batching === true && !loaded.batching;
      if (result === undefined || isLess || (result.padding && !loaded.padding)) result = loaded;
    } catch (error) {
      return { state: "failed", reason: error instanceof Error ? error.message : String(error) };
    }
  }
  if (result !== undefined && tensorListBytes(result) > LIMITS.tensorsBytes) {
    return { state: "failed", reason: "it has more inputs or outputs, or longer names, than one request can carry" };
  }
  return result === undefined
    ? { state: "failed", reason: "there is no slot to load it into" }
    : { state: "ready", loaded: result };
}

/** The largest tensor list that a request or an answer of the model can need. */
function tensorListBytes({ inputs, outputs }: LoadedModel): number {
  const bytesOf = (specs: readonly TensorSpec[]): number => {
    const tensors = specs.map(({ name, datatype, shape }) => ({
      name,
      datatype,
      shape: shape.map(() => Number.MAX_SAFE_INTEGER),
      bytes: Number.MAX_SAFE_INTEGER,
    }));
    return encodeTensorList({ tensors, outputs: outputs.map(({ name }) => name) }).byteLength;
  };
  return Math.max(bytesOf(inputs), bytesOf(outputs));
}

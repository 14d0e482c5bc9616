import { stat } from "node:fs/promises";
import { encodeTensorList, LIMITS, type TensorSpec, type WorkerModel } from "@millrace/protocol";
import type { Logger } from "@millrace/runtime";
import type { CurveBook } from "./curve-book.ts";
import type { CurveFolder } from "./curve-folder.ts";
import { fingerprintOf, providerOf } from "./fingerprint.ts";
import { MemoryAccount } from "./memory-account.ts";
import { describeModel, type LoadOutcome } from "./model-description.ts";
import type { RepositoryModel } from "./repository.ts";
import type { LoadedModel, ModelSource } from "./runner.ts";
import type { ServedModel } from "./worker.ts";
import type { RunnerThread } from "./runner-host.ts";
import { SWEEP_MS_MAX } from "./warm-up.ts";

export type LoaderOptions = {
  /** The models of the folder, and the slots that are to hold each of them (`planSlots`). */
  readonly found: readonly RepositoryModel[];
  readonly slotsOf: readonly (readonly number[])[];
  /** One a slot. */
  readonly threads: readonly Pick<RunnerThread, "load" | "unload">[];
  /** onnxruntime threads of a slot; part of what a curve is good for. */
  readonly threadsPerSlot: number;
  /** Name of the processor. */
  readonly processor: string;
  /** Takes what is measured; what it knows, or the folder, is not measured again. */
  readonly curves: CurveBook;
  readonly folder: CurveFolder;
  readonly logger: Logger;
  /** Is told of every model that was tried, what runs it, how long loading took, in seconds, and what it takes. */
  readonly onLoaded: (model: WorkerModel, loading: Loading) => void;
  /** Bytes that all copies of all models may take together; 0 = no limit. */
  readonly bytesMax: number;
};

/** How a model was loaded. `copies`: what its copy in each slot takes; none where it cannot serve. */
export type Loading = { readonly provider: string; readonly seconds: number; readonly copies: readonly Copy[] };

/** One copy of a model. */
export type Copy = { readonly slot: number; readonly bytes: number };

/**
 * Loads and warms up every model in its slots, one after the other, and says in the log how each went. What cannot serve is in the
 * list with its reason, and the others serve. A model's place in the list is its number.
 */
export async function loadModels(options: LoaderOptions): Promise<ServedModel[]> {
  const { logger, found } = options;
  if (found.length > LIMITS.list)
    logger.error({ models: found.length, max: LIMITS.list }, "too many models; the rest is left out");
  const models: ServedModel[] = [];
  const memory = new MemoryAccount(options.bytesMax);
  for (const [index, one] of found.slice(0, LIMITS.list).entries()) {
    const startedMs = performance.now();
    const { model, copies } = await loadModel({ ...options, memory }, one, index);
    models.push(model);
    const seconds = (performance.now() - startedMs) / 1000;
    options.onLoaded(model, { provider: providerOf(one.manifest), seconds, copies });
  }
  return models;
}

type LoaderState = LoaderOptions & { readonly memory: MemoryAccount };

async function loadModel(
  options: LoaderState,
  found: RepositoryModel,
  index: number,
): Promise<{ readonly model: ServedModel; readonly copies: readonly Copy[] }> {
  const { logger, threads, threadsPerSlot, processor, curves, folder } = options;
  const fingerprint = fingerprintOf(found, { threads: threadsPerSlot, processor });
  const { name: ownName, version: ownVersion, manifest } = found;
  const kept = await folder.read(fingerprint);
  const sizes = curves.add(index, { model: ownName, version: ownVersion, fingerprint }, kept);
  // Of one size no slope can be told.
  const isKnown = sizes >= Math.min(2, manifest.maxBatchSize);
  const { outcome, copies } = await load(options, found, { index, sweepMs: isKnown ? 0 : SWEEP_MS_MAX });
  const memoryBytes = bytesOf(copies);
  const model = describeModel(found, outcome);
  const { name, version, state } = model;
  const loaded = outcome.state === "ready" ? outcome.loaded : undefined;
  if (loaded === undefined) logger.error({ model: name, version, reason: model.reason }, "model cannot serve");
  else {
    const { batching, maxBatchSize } = loaded;
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
  const buckets = loaded?.buckets.map(({ bucket }) => bucket) ?? [];
  // Empty: all.
  const slots = copies.length === threads.length ? [] : copies.map(({ slot }) => slot);
  const served = { index, memoryBytes, fingerprint, buckets, curve: [], model, slots, padding: loaded?.padding };
  return { model: served, copies };
}

/** Loads a copy into each of its slots; where one of them cannot be had none stays. */
async function load(
  { threads, memory, slotsOf }: LoaderState,
  found: RepositoryModel,
  asked: { readonly index: number; readonly sweepMs: number },
): Promise<{ readonly outcome: LoadOutcome; readonly copies: readonly Copy[] }> {
  if (found.state === "failed") return { outcome: found, copies: [] };
  const slots = slotsOf[asked.index]!;
  const copies: Copy[] = [];
  try {
    refuseIf(memory.refusalOf((await fileBytesOf(found.source)) * slots.length));
    let result: LoadedModel | undefined;
    for (const slot of slots) {
      // The slots are alike: one of them measures.
      const sweepMs = copies.length === 0 ? asked.sweepMs : 0;
      const loaded = await loadCopy(threads[slot]!, found, { ...asked, sweepMs });
      copies.push({ slot, bytes: loaded.memoryBytes });
      refuseIf(memory.refusalOf(bytesOf(copies)));
      // A slot that found rows to influence each other decides for all: batches may go to any of them.
      const isLess = result?.batching === true && !loaded.batching;
      if (result === undefined || isLess || (result.padding && !loaded.padding)) result = loaded;
    }
    if (result === undefined) throw new Error("there is no slot to load it into");
    if (tensorListBytes(result) > LIMITS.tensorsBytes)
      throw new Error("it has more inputs or outputs, or longer names, than one request can carry");
    memory.bytes += bytesOf(copies);
    return { outcome: { state: "ready", loaded: result }, copies };
  } catch (error) {
    // A thread that is gone has nothing to unload.
    await Promise.allSettled(slots.map((slot) => threads[slot]!.unload(asked.index)));
    const reason = error instanceof Error ? error.message : String(error);
    return { outcome: { state: "failed", reason }, copies: [] };
  }
}

function bytesOf(copies: readonly Copy[]): number {
  return copies.reduce((sum, { bytes }) => sum + bytes, 0);
}

function loadCopy(
  thread: Pick<RunnerThread, "load">,
  { source, manifest }: RepositoryModel & { readonly state: "found" },
  { index, sweepMs }: { readonly index: number; readonly sweepMs: number },
): Promise<LoadedModel> {
  const { maxBatchSize, batching, maxBatchElements, padding } = manifest;
  const limits = { maxBatchSize, batching, maxBatchElements, padding };
  return thread.load({ model: index, source, limits, sweepMs });
}

function refuseIf(reason: string): void {
  if (reason !== "") throw new Error(reason);
}

/** The least that a copy takes. A file that cannot be read is told by who loads it. */
async function fileBytesOf(source: ModelSource): Promise<number> {
  if (source.platform === "simulated") return 0;
  return stat(source.path).then(
    ({ size }) => size,
    () => 0,
  );
}

/** The largest tensor list that a request or an answer of the model can need. */
function tensorListBytes({ inputs, outputs }: LoadedModel): number {
  const lengthOf = (specs: readonly TensorSpec[]): number => {
    const tensors = specs.map(({ name, datatype, shape }) => ({
      name,
      datatype,
      shape: shape.map(() => Number.MAX_SAFE_INTEGER),
      bytes: Number.MAX_SAFE_INTEGER,
    }));
    return encodeTensorList({ tensors, outputs: outputs.map(({ name }) => name) }).byteLength;
  };
  return Math.max(lengthOf(inputs), lengthOf(outputs));
}

import type { Manifest, SimulatedDevice } from "./manifest.ts";
import type { OnnxOptions } from "./onnx-options.ts";

/** What a curve depends on beside the model. */
export type Machine = {
  /** Threads inside one run. */
  readonly threads: number;
  /** Name of the processor, as the system gives it. */
  readonly processor: string;
};

/** Characters of a processor's name that are kept. */
const PROCESSOR_LENGTH_MAX = 100;

/**
 * The kind of worker, for one model: what runs (the first 16 hex digits of the file's SHA-256, or the simulated device's two
 * times), on what, with how many threads, on which processor. Workers of one kind share a curve; a curve that was kept is good
 * for its own kind alone.
 */
export function fingerprintOf(
  model: { readonly digest: string; readonly manifest: Manifest },
  { threads, processor }: Machine,
): string {
  const { digest, manifest } = model;
  const { simulated, onnxruntime } = manifest;
  const what = simulated === undefined ? digest.slice(0, 16) : timeOf(simulated);
  const name = processor
    .replaceAll(/\([^)]*\)/g, "")
    .replaceAll(/[^\w.@]+/g, "-")
    .slice(0, PROCESSOR_LENGTH_MAX);
  const threadsOfRun = simulated === undefined ? (onnxruntime.intraOpNumThreads ?? threads) : threads;
  return [what, providerOf(manifest), ...deviationsOf(onnxruntime), threadsOfRun, name].join("/");
}

function timeOf({ baseMs, rowMs, elementMs = 0 }: SimulatedDevice): string {
  return `${baseMs}+${rowMs}n${elementMs === 0 ? "" : `+${elementMs}e`}`;
}

/** What runs the model, for people and metrics: the first execution provider, or `simulated`. */
export function providerOf({ simulated, onnxruntime }: Manifest): string {
  return simulated === undefined ? (onnxruntime.executionProviders[0]?.name ?? "cpu") : "simulated";
}

/** Options that change how long a run takes, where they are not the default. */
function deviationsOf({ graphOptimizationLevel, enableCpuMemArena, enableMemPattern }: OnnxOptions): string[] {
  const deviations: string[] = [];
  if (graphOptimizationLevel !== "all") deviations.push(`graph-${graphOptimizationLevel}`);
  if (!enableCpuMemArena) deviations.push("no-arena");
  if (!enableMemPattern) deviations.push("no-pattern");
  return deviations;
}

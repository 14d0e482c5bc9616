import type { OpenLoopReport } from "../tests/support/open-loop-account.ts";
import type { BenchEnvironment } from "./environment.ts";
import type { LoadShape } from "./workloads.ts";

/** Latencies in milliseconds. */
export type Latency = { readonly p50: number; readonly p99: number; readonly p999: number; readonly max?: number };

/** One measurement of one side under one workload. Rates are answers a second; times in milliseconds unless named otherwise. */
export type Measurement = {
  readonly workload: string;
  readonly side: string;
  readonly round: number;
  readonly answers: number;
  readonly elapsedMs: number;
  readonly perSecond: number;
  /** Requests that were due, of an open loop. */
  readonly ratePerSecond?: number;
  /** Processor time of all processes of the side, in microseconds an answer, and by process. */
  readonly cpuUs: number;
  readonly cpuUsByProcess: Readonly<Record<string, number>>;
  /** The load generators' own. */
  readonly loadCpuUs: number;
  /** Share of the machine's cores that went to what is neither the side nor its load, 0 to 1: who else was at work. */
  readonly othersShare?: number;
  readonly memoryMb: number;
  readonly latencyMs: Latency;
  /** Answers that were held against the model's own; all were right, or there would be no measurement. */
  readonly checked: number;
  /** Rows of a run of the model, for sides that tell. */
  readonly meanBatchRows?: number;
  /** Rows over the time of runs alone, for sides that tell: to be held against onnxruntime by itself. */
  readonly runRowsPerSecond?: number;
  /** Rows over the processor time of the slots' threads: without what others on the same cores take of the time of runs. */
  readonly runRowsPerCpuSecond?: number;
  /** For open loops and bursts. */
  readonly openLoop?: OpenLoopReport;
};

/** What a run did not measure, and why. */
export type Skipped = { readonly workload: string; readonly side: string; readonly reason: string };

/** A limit of the machine beside which servers stand: `what` is measured in `unit`. */
export type LimitMeasurement = {
  readonly limit: string;
  readonly what: string;
  readonly round: number;
  readonly value: number;
  readonly unit: string;
  readonly cpuUs?: number;
};

/** The file of a run in bench/results. */
export type Results = {
  readonly date: string;
  readonly environment: BenchEnvironment;
  readonly options: { readonly rounds: number; readonly seconds: number };
  readonly workloads: readonly { readonly name: string; readonly title: string; readonly shape: LoadShape }[];
  readonly sides: readonly { readonly name: string; readonly settings: string; readonly advice: string }[];
  readonly measurements: readonly Measurement[];
  readonly limits: readonly LimitMeasurement[];
  readonly skipped: readonly Skipped[];
};

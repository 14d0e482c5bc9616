import type { OpenLoopReport } from "../../tests/support/open-loop-account.ts";
import type { BenchEnvironment } from "../environment.ts";
import type { GeneratorPriority } from "./generator.ts";
import type { IdleCores } from "./idle-cores.ts";

/** Processor time over time, in cores: of each process of the system, of the load generators, and of everything else. */
export type CoresUsed = {
  readonly byProcess: Readonly<Record<string, number>>;
  readonly load: number;
  readonly others: number;
};

/** One open loop through a live system. Rates are requests a second. Every answer was checked. */
export type SuiteProbe = {
  readonly name: string;
  readonly workers: number;
  /** Mean of what was due. */
  readonly ratePerSecond: number;
  /** Answered in time. */
  readonly goodputPerSecond: number;
  readonly seconds: number;
  readonly openLoop: OpenLoopReport;
  /** Rows of a run, the mean over runs. */
  readonly meanBatchRows: number;
  /** Requests that needed more than one attempt. */
  readonly retried: number;
  /** Of the rows that were sent to workers, the share whose answer was not in time. */
  readonly lateRunShare: number;
  readonly cores: CoresUsed;
};

/** A figure that is held against a bound. */
export type SuiteCheck = {
  readonly what: string;
  readonly value: number;
  /** "" for a ratio. */
  readonly unit: string;
  readonly atLeast?: number;
  readonly atMost?: number;
};

/** What a part of the suite found. */
export type PartFindings = {
  readonly probes: readonly SuiteProbe[];
  readonly checks: readonly SuiteCheck[];
  /** Figures that other parts and plots use, by name. */
  readonly facts: Readonly<Record<string, number>>;
};

export type PartResult = PartFindings & {
  readonly workers: number;
  readonly name: string;
  readonly title: string;
  readonly startedAt: string;
  readonly seconds: number;
  readonly environment: BenchEnvironment;
  readonly idleCores: IdleCores;
  /** Older files have none: as all. */
  readonly generators?: GeneratorPriority;
  /** Of the durations that the part asks for: less than 1 is for trying things out. */
  readonly scale: number;
};

/** The file of a suite in bench/results. Parts may come from several runs. */
export type SuiteResults = { readonly suite: 1; readonly parts: readonly PartResult[] };

export function isMet({ value, atLeast = -Infinity, atMost = Infinity }: SuiteCheck): boolean {
  return value >= atLeast && value <= atMost;
}

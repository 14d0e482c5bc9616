import type { ArrivalPlan } from "./arrival-plan.ts";
import type { LoadResult } from "./load-generator.ts";
import type { OpenLoopReport } from "./open-loop-account.ts";
import type { RequestFormName } from "./request-form.ts";
import type { IdentityReport } from "./row-identity.ts";
import type { RowPoolOptions } from "./row-pool.ts";

/** A checked load, as the load process gets it. Plain data. */
export type LoadPlan = {
  /** The gateways; connections are spread over them. */
  readonly urls: readonly string[];
  readonly connections: number;
  /** Requests in all, unless `durationMs` or a stop ends it sooner. */
  readonly requests: number;
  readonly durationMs?: number;
  /** How long a connection rests between an answer and its next request, in milliseconds. Default 0. */
  readonly thinkMs?: number;
  readonly answerTimeoutMs?: number;
  /** An open loop: requests leave at these times, and must be answered within `deadlineMs` of them. Default: a closed loop. */
  readonly open?: {
    readonly arrivals: ArrivalPlan;
    readonly deadlineMs: number;
    /** Report stretches of that length, too. */
    readonly windowMs?: number;
  };
  readonly pools: readonly RowPoolOptions[];
  readonly seed: number;
  /** Headers of every request, beside its own. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Rows of a request are 1 to this; default 8. */
  readonly rowsMax?: number;
  /** Rows of the models' largest run, where requests may be larger and run in parts. */
  readonly runRowsMax?: number;
  /** For benchmarks: send this many requests, made beforehand, over and over. Default: every request is new. */
  readonly prebuilt?: number;
  /** For benchmarks: check one answer in this many (of those with status 200). Default 1. */
  readonly checkEvery?: number;
  /** Whether answers must carry Millrace's `Server-Timing`; default true. Peers of benchmarks do not. */
  readonly isTimed?: boolean;
  /** How requests are written; default the Open Inference Protocol. */
  readonly form?: RequestFormName;
  /** For benchmarks: goes before, and counts for nothing; but its answers must be right, too. */
  readonly warmUp?: LoadWarmUp;
};

/** An open loop in front of what is measured, after which code is compiled in the load process and in what it asks. */
export type LoadWarmUp = {
  readonly pool: RowPoolOptions;
  readonly arrivals: ArrivalPlan;
  readonly connections: number;
};

/** How far it is. `notOk`: answers that were not 200. */
export type LoadProgress = {
  readonly answers: number;
  readonly notOk: number;
  readonly mismatches: number;
};

export type LoadReport = LoadResult & {
  /** Of the answers that were checked. */
  readonly identity: IdentityReport;
  /** Where the plan was an open loop. */
  readonly openLoop?: OpenLoopReport;
  /** Processor time of the load process while it ran, in milliseconds. */
  readonly cpuMs: number;
};

/** What the load process is told. */
export type LoadCommand =
  | { readonly type: "prepare"; readonly plan: LoadPlan }
  | { readonly type: "start" }
  | { readonly type: "stop" };

/** What the load process tells. `prepared`: the rows are made, and what goes before has been. `started`: the first requests go out. */
export type LoadEvent =
  | { readonly type: "prepared" }
  | { readonly type: "started" }
  | ({ readonly type: "progress" } & LoadProgress)
  | { readonly type: "done"; readonly report: LoadReport }
  | { readonly type: "failed"; readonly error: string };

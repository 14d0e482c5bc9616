import type { ErrorCode } from "@millrace/protocol";
import type { BatchTensor, LoadedModel, ModelLimits, ModelSource, Ran } from "./runner.ts";

/** A model for a runner thread. `model` is its number, chosen by the caller, by which runs name it. */
export type LoadRequest = {
  readonly model: number;
  readonly source: ModelSource;
  readonly limits: ModelLimits;
  /** Compute time that measuring its curve may take, in ms; default 0 = not measured. */
  readonly sweepMs?: number;
};

/** One run. The buffers of the inputs are transferred to the thread: the caller no longer has them. */
export type RunJob = { readonly model: number; readonly inputs: readonly BatchTensor[] };

/** How a runner thread is set up (its `workerData`). */
export type RunnerThreadSetup = {
  /** Threads inside one run, at least 1. */
  readonly threads: number;
  /** For tests: every run takes this much longer, in its compute time. */
  readonly computeDelayMs: number;
  /** At an `id` modulo its length: that `id`, if the run was called back. The main thread writes, the runner thread reads. */
  readonly recalled: Int32Array<SharedArrayBuffer>;
};

/** Main thread to runner thread. Each is done before the next, in order, and answered with its `id`. */
export type RunnerRequest = { readonly id: number } & (
  | ({ readonly type: "load" } & LoadRequest)
  | ({ readonly type: "run" } & RunJob & {
        /** Set where the run may be called back: not begun at this reading of `process.hrtime.bigint()` or later. */
        readonly notAfterNs?: bigint;
      })
  | { readonly type: "unload"; readonly model: number }
  /** Unloads everything and ends the thread. */
  | { readonly type: "close" }
);

/** Runner thread to main thread. */
export type RunnerReply = { readonly id: number } & (
  | { readonly type: "loaded"; readonly loaded: LoadedModel }
  /** The buffers of the outputs are transferred. */
  | { readonly type: "ran"; readonly ran: Ran }
  /** The run was called back or is too late: the model has not seen it. */
  | { readonly type: "skipped" }
  | { readonly type: "done" }
  | { readonly type: "failed"; readonly code: ErrorCode; readonly message: string }
);

import type { ErrorCode, ModelDescription, ModelTotals, Tensor } from "@millrace/protocol";

/**
 * One checked request, as the HTTP side hands it to the broker side. It belongs to the broker side until it is answered or
 * cancelled; nobody changes it.
 */
export type InferenceRequest = {
  /** From `ModelTable.find`; its `inputs` are the order of `inputs` and of the payload. */
  readonly model: ModelDescription;
  /** The size of the batch dimension, 1 to `model.maxRequestRows`; 1 for a model without a batch dimension. */
  readonly rows: number;
  /** "" where all other dimensions are fixed; else those of all inputs as they will run, such as "3,5|7". Equal: may share a run. */
  readonly bucket: string;
  /** Elements of all inputs as they will run where the model limits those of a run (`maxBatchElements`), else the rows. */
  readonly cost: number;
  /** One tensor for each of the model's inputs (optional ones may be missing), in its order; the data of each is a view into `payload`. */
  readonly inputs: readonly Tensor[];
  /** The data of all inputs, one behind the other in that order. */
  readonly payload: Uint8Array;
  /** Names of the outputs that the client asks for, each once; [] = all. */
  readonly outputs: readonly string[];
  /** Time left in milliseconds when handed over, above 0. */
  readonly budgetMs: number;
  /** 0 = the default; 1 is the most urgent. */
  readonly priority: number;
  /** Whose request it is; "" = nobody in particular. */
  readonly tenant: string;
  /** The client's `x-request-id`, or the gateway's: not unique. */
  readonly requestId: string;
};

/** Where the time of one request went behind the seam, in milliseconds; the stages are those of `STAGES`. */
export type StageDurations = {
  readonly gatewayQueueMs: number;
  readonly brokerQueueMs: number;
  readonly batchWaitMs: number;
  readonly computeMs: number;
  readonly retryMs: number;
  readonly networkMs: number;
};

/** What hooks around the model took, in milliseconds; part of no other stage. */
export type HookDurations = { readonly preprocessMs: number; readonly postprocessMs: number };

/** How a request ended. `retryAfterMs` is 0 where nothing can be said about it. */
export type InferenceAnswer =
  | {
      readonly ok: true;
      /** The outputs asked for, in any order; the data are borrowed from the message that they came in. */
      readonly outputs: readonly Tensor[];
      readonly rows: number;
      /** Rows of the whole run that this request was part of; of its last part's run where it ran in parts. */
      readonly batchRows: number;
      readonly worker: string;
      readonly stages: StageDurations;
      /** Only where the model has hooks. */
      readonly hooks?: HookDurations;
    }
  | {
      readonly ok: false;
      readonly code: ErrorCode;
      readonly message: string;
      readonly retryAfterMs: number;
      readonly stages: StageDurations;
      readonly hooks?: HookDurations;
    };

/** The broker side as the HTTP side sees it. Its own deadlines see to it that every request is answered. */
export interface Inference {
  readonly models: ModelTable;
  /**
   * Takes a request. `onAnswer` is called exactly once, later, never during this call; once more, with `internal`, only if it throws.
   * Returns a handle for `cancel`.
   */
  submit(request: InferenceRequest, onAnswer: (answer: InferenceAnswer) => void): number;
  /** The client went away: forgets the request and cancels it downstream; `onAnswer` is then not called. */
  cancel(handle: number): void;
  /**
   * What all brokers have counted of each model version, lost ones included. `onTotals` is called exactly once, within a second or
   * so, with what is known where a broker does not answer. `lastMs` is in milliseconds since 1970.
   */
  readTotals(onTotals: (totals: readonly ModelTotals[]) => void): void;
  /** Why the gateway cannot serve now, or "" (a broker session is active and its models are known). */
  unreadyReason(): string;
}

/** What the gateway knows of the models that are served. */
export interface ModelTable {
  /** The model of that name; version undefined or "" = the highest that is ready, else the highest. `workers`: ready ones that serve it. */
  find(name: string, version?: string): { readonly model: ModelDescription; readonly workers: number } | undefined;
  /** Every version of every model, in no particular order. */
  list(): readonly ModelEntry[];
}

/** One model version with the number of ready workers that serve it; `isDefault`: requests without a version go to it. */
export type ModelEntry = {
  readonly model: ModelDescription;
  readonly workers: number;
  readonly isDefault: boolean;
};

import type { ModelDescription, ModelTotals, Tensor } from "@millrace/protocol";
import { loadOptions } from "@millrace/runtime";
import { type GatewayOptions, OPTIONS } from "./config.ts";
import type {
  Inference,
  InferenceAnswer,
  InferenceRequest,
  ModelEntry,
  ModelTable,
  StageDurations,
} from "./broker/inference.ts";
import { FormPool } from "./form-threads/form-pool.ts";
import type { RetryBound } from "./broker/retry-budget.ts";

/**
 * Test support: the seam implemented in memory. Its models answer each output from the input of the same place, so that tests see
 * their own values come back; everything about it can be changed by the test.
 */

/** Durations that tell the stages apart in a test. */
export const TEST_STAGES: StageDurations = {
  gatewayQueueMs: 0.011,
  brokerQueueMs: 0.022,
  batchWaitMs: 0.033,
  computeMs: 0.044,
  retryMs: 0,
  networkMs: 0.055,
};

/** A model that is ready: one FP32 input `x` and one output `y` of [-1, 4], up to 8 rows a run and a request; `given` overrides. */
export function testModel(given: Partial<ModelDescription> = {}): ModelDescription {
  return {
    name: "echo",
    version: "1",
    state: "ready",
    reason: "",
    platform: "simulated",
    digest: "",
    batching: true,
    maxBatchSize: 8,
    maxRequestRows: 8,
    share: 1,
    maxBatchElements: 0,
    axes: [],
    optionalInputs: [],
    timeoutMs: 0,
    sloMs: 0,
    maxHoldMs: 0,
    inputs: [{ name: "x", datatype: "FP32", shape: [-1, 4] }],
    outputs: [{ name: "y", datatype: "FP32", shape: [-1, 4] }],
    ...given,
  };
}

/** A request that is submitted and not answered; `answer` answers it. */
export type Submitted = {
  readonly handle: number;
  readonly request: InferenceRequest;
  readonly answer: (answer: InferenceAnswer) => void;
};

/** The answer that echoes a request's inputs under the model's output names. */
export function echoOf({ model, inputs, rows }: InferenceRequest): InferenceAnswer {
  const outputs: Tensor[] = model.outputs.map(({ name, datatype }, i) => {
    const input = inputs[i] ?? inputs[0];
    return { name, datatype, shape: input?.shape ?? [], data: input?.data ?? Buffer.alloc(0) };
  });
  return { ok: true, outputs, rows, batchRows: rows, worker: "worker-1", stages: TEST_STAGES };
}

/** An Inference in this process: echoes on the next turn of the event loop, or waits for the test where `isManual`. */
export class EchoInference implements Inference {
  readonly models: ModelTable;
  /** What was submitted and is not answered or cancelled. */
  readonly pending = new Map<number, Submitted>();
  readonly cancelled: number[] = [];
  isManual = false;
  totals: readonly ModelTotals[] = [];
  reason = "";
  /** Makes the answer of requests that are not answered by hand. */
  respond: (request: InferenceRequest) => InferenceAnswer = echoOf;
  #submitted = 0;
  readonly #entries: readonly ModelEntry[];

  constructor(models: readonly (ModelDescription | ModelEntry)[] = [testModel()]) {
    this.#entries = models.map((given) => ("model" in given ? given : { model: given, workers: 1, isDefault: true }));
    this.models = {
      find: (name, version) => {
        const named = this.#entries.filter(({ model }) => model.name === name);
        const byVersion = named.toSorted((a, b) => Number(b.model.version) - Number(a.model.version));
        if (version !== undefined && version !== "") return byVersion.find(({ model }) => model.version === version);
        return byVersion.find(({ model }) => model.state === "ready") ?? byVersion[0];
      },
      list: () => this.#entries,
    };
  }

  submit(request: InferenceRequest, onAnswer: (answer: InferenceAnswer) => void): number {
    const handle = ++this.#submitted;
    const answer = (given: InferenceAnswer): void => {
      if (this.pending.delete(handle)) onAnswer(given);
    };
    this.pending.set(handle, { handle, request, answer });
    if (!this.isManual) setImmediate(() => answer(this.respond(request)));
    return handle;
  }

  cancel(handle: number): void {
    this.cancelled.push(handle);
    this.pending.delete(handle);
  }

  readTotals(onTotals: (totals: readonly ModelTotals[]) => void): void {
    setImmediate(() => onTotals(this.totals));
  }

  unreadyReason(): string {
    return this.reason;
  }

  /** How many requests were ever submitted. */
  get submitted(): number {
    return this.#submitted;
  }
}

/** Everything may be sent again. */
export const UNBOUNDED_RETRIES: RetryBound = { retryPercentMax: 0, retriesMin: Infinity };

/** Whether every body and answer goes to another thread: the same tests then hold the way there and back. */
const FORM_APART = "TEST_FORM_APART";

/** From here on all tests of this file have their bodies parsed, and answers written, in another thread. */
export function formApart(): void {
  process.env[FORM_APART] = "true";
}

/** Whether every connection is node's from its first byte: the same tests then hold either way. */
const NO_LANE = "TEST_NO_LANE";

/** From here on all servers of this file are without the hot lane. */
export function withoutLane(): void {
  process.env[NO_LANE] = "true";
}

/** Options of a gateway in a test: the defaults, a free port, and what is given. */
export function testOptions(given: Partial<GatewayOptions> = {}): GatewayOptions {
  const inline = process.env[FORM_APART] === undefined ? {} : { inlineJsonBytesMax: 0 };
  const lane = { hotLane: process.env[NO_LANE] === undefined };
  return { ...loadOptions(OPTIONS, { env: {}, argv: [] }), port: 0, adminPort: 0, ...inline, ...lane, ...given };
}

/** The threads of all gateways of a test file. They end with the file's process. */
export const testFormPool = new FormPool({
  threads: 1,
  onDefect: (error) => {
    throw error;
  },
});

/** A request body of the Open Inference Protocol for `testModel()`: as many rows as there are fours of values. */
export function inferBody(values: readonly number[] = [1, 2, 3, 4], more: object = {}): string {
  const shape = [values.length / 4, 4];
  return JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape, data: values }], ...more });
}

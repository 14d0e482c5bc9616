import type { HookRequest } from "@millrace/hooks";
import type { ModelDescription } from "@millrace/protocol";
import type { DeadlineWheel, Wheeled } from "../broker/deadline-wheel.ts";
import type { Inference, InferenceAnswer, InferenceRequest, StageDurations } from "../broker/inference.ts";
import type { InputSet } from "../forms/input-set.ts";
import { readClientOutputs, readModelInputs } from "./facade.ts";
import { hookFailureOf, UnusableResult } from "./hook-error.ts";
import type { HookName, Hooks } from "./hook-module.ts";
import type { HookWork } from "./hook-message.ts";
import type { HookRunner, HookScope } from "./hook-runner.ts";
import { toHookTensors } from "./hook-tensor.ts";

/** How a call of a hook ended. `late`: not before its request's budget had passed. `cancelled`: the client went away first. */
export const HOOK_OUTCOMES = ["ok", "invalid", "error", "late", "cancelled", "dropped"] as const;
export type HookOutcome = (typeof HOOK_OUTCOMES)[number];

/** What all requests of a model with hooks share. */
export type HookedModel = {
  readonly name: string;
  readonly hooks: Hooks;
  readonly runner: HookRunner;
  /** Calls whose hook runs; its owner ends those that are late. */
  readonly deadlines: Pick<DeadlineWheel<HookCall>, "add" | "remove">;
  /** Calls of `preprocess` and `postprocess` that have not come to their end. */
  readonly running: () => number;
  readonly began: (hook: HookName) => void;
  /** The hook itself has come to its end, whether or not somebody still waits for it. */
  readonly left: (hook: HookName) => void;
  readonly ended: (hook: HookName, outcome: HookOutcome) => void;
  /** Is told what a hook threw, unless it is the client's fault. Never throws. */
  readonly failed: (hook: HookName, error: unknown, requestId: string) => void;
};

/**
 * - `preprocessing`: the first hook runs.
 * - `waiting`: handed over to the broker side.
 * - `postprocessing`: the answer is here; the second hook runs.
 * - `done`: answered or cancelled.
 */
type HookCallState = "preprocessing" | "waiting" | "postprocessing" | "done";

type ServedAnswer = InferenceAnswer & { readonly ok: true };

/** A budget that is over, in milliseconds: budgets are above 0. */
const LEAST_MS = 0.001;

/** Of what never went behind the seam. */
export const NO_STAGES: StageDurations = {
  gatewayQueueMs: 0,
  brokerQueueMs: 0,
  batchWaitMs: 0,
  computeMs: 0,
  retryMs: 0,
  networkMs: 0,
};

/**
 * One request of a model with hooks, from the gateway's HTTP side to its answer; the scope of its hooks, too. Once `done`, nothing of
 * it happens any more.
 */
export class HookCall implements HookScope, Wheeled {
  readonly #inner: Pick<Inference, "submit" | "cancel">;
  readonly #shared: HookedModel;
  readonly #model: ModelDescription;
  readonly #onEnd: (call: HookCall, answer: InferenceAnswer | undefined) => void;
  readonly #abort = new AbortController();
  readonly request: InferenceRequest;
  readonly model: HookScope["model"];
  readonly state = {};
  readonly startedMs = performance.now();
  readonly deadlineMs: number;
  wheelIndex = -1;
  #state: HookCallState = "preprocessing";
  #handle = 0;
  #preprocessMs = 0;
  #postprocessFromMs = 0;
  /** The model's. */
  #answer: ServedAnswer | undefined;

  /** `model` is the one behind the facade that `request.model` is. `onEnd` is called once, without an answer where it was cancelled. */
  constructor(
    inner: Pick<Inference, "submit" | "cancel">,
    shared: HookedModel,
    call: {
      readonly model: ModelDescription;
      readonly request: InferenceRequest;
      readonly onEnd: (call: HookCall, answer: InferenceAnswer | undefined) => void;
    },
  ) {
    this.#inner = inner;
    this.#shared = shared;
    this.#model = call.model;
    this.#onEnd = call.onEnd;
    this.request = call.request;
    this.model = { name: call.model.name, version: call.model.version };
    this.deadlineMs = this.startedMs + call.request.budgetMs;
  }

  get requestId(): string {
    return this.request.requestId;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  start(): void {
    if (this.#shared.hooks.preprocess === undefined) this.#submit(this.request);
    else void this.#run({ hook: "preprocess", given: this.#given() });
  }

  /** The client went away. */
  cancel(): void {
    if (this.#state === "done") return;
    const state = this.#state;
    if (state === "preprocessing") this.#shared.ended("preprocess", "cancelled");
    if (state === "postprocessing") this.#shared.ended("postprocess", "cancelled");
    this.#end(undefined);
    this.#abort.abort(new DOMException("the client went away", "AbortError"));
    if (state === "waiting") this.#inner.cancel(this.#handle);
  }

  /** The budget has passed while a hook ran. */
  expire(): void {
    const hook = this.#state === "postprocessing" ? "postprocess" : "preprocess";
    this.#shared.ended(hook, "late");
    const budgetMs = Math.round(this.request.budgetMs);
    const message = `hook ${hook} of model ${JSON.stringify(this.#model.name)} was not done within the ${budgetMs} ms of the request`;
    this.#end({ ok: false, code: "deadline_exceeded", message, retryAfterMs: 0, stages: this.#stages });
    this.#abort.abort(new DOMException("the request's budget has passed", "TimeoutError"));
  }

  #submit(set: InputSet): void {
    const { rows, bucket, cost, inputs, payload } = set;
    // The inner side sees to what is over, later, as its contract says.
    const budgetMs = Math.max(LEAST_MS, this.deadlineMs - performance.now());
    this.#state = "waiting";
    // What the client asks for are outputs of the hook; the hook may need any of the model's.
    const outputs = this.#shared.hooks.postprocess === undefined ? this.request.outputs : [];
    const request = { ...this.request, model: this.#model, rows, bucket, cost, inputs, payload, outputs, budgetMs };
    this.#handle = this.#inner.submit(request, (answer) => this.#onAnswer(answer));
  }

  #onAnswer(answer: InferenceAnswer): void {
    if (this.#state !== "waiting") return;
    if (!answer.ok || this.#shared.hooks.postprocess === undefined) return this.#end(answer);
    this.#state = "postprocessing";
    this.#postprocessFromMs = performance.now();
    this.#answer = answer;
    const { outputs, batchRows } = answer;
    const given = { outputs: toHookTensors(outputs), request: this.#given(), batchRows };
    void this.#run({ hook: "postprocess", given });
  }

  /** Runs a hook and goes on with what it gives, unless the call has ended by then. Never rejects. */
  async #run(work: HookWork & { readonly hook: "preprocess" | "postprocess" }): Promise<void> {
    const { runner, deadlines, began, left, ended, failed } = this.#shared;
    const { hook } = work;
    const state = this.#state;
    deadlines.add(this);
    began(hook);
    let result: unknown;
    try {
      result = await runner.run(work, this);
    } catch (error) {
      left(hook);
      if (this.#state === state) this.#onFailure(hook, error);
      return;
    }
    left(hook);
    if (this.#state !== state) return;
    deadlines.remove(this);
    try {
      if (hook === "preprocess") this.#onInputs(result);
      else this.#onOutputs(result);
      ended(hook, "ok");
    } catch (error) {
      // What a hook gives may throw when it is looked at. After the answer it is nobody's request any more, but a defect of ours.
      if (this.#isDone) failed(hook, error, this.requestId);
      else this.#onFailure(hook, error);
    }
  }

  #onInputs(result: unknown): void {
    const inputs = readModelInputs(this.#model, result);
    if (typeof inputs === "string") throw new UnusableResult(inputs);
    this.#checkRows(inputs);
    this.#preprocessMs = performance.now() - this.startedMs;
    this.#submit(inputs);
  }

  /** Where nobody brings the rows of an answer back to those of the request, clients would get rows that they cannot tell apart. */
  #checkRows({ rows }: InputSet): void {
    if (this.#shared.hooks.postprocess !== undefined || !this.#model.batching || rows === this.request.rows) return;
    const text = `it made ${rows} rows of ${this.request.rows}, and there is no postprocess hook to bring them back`;
    throw new UnusableResult(text);
  }

  #onOutputs(result: unknown): void {
    const { model: facade, rows, outputs: asked } = this.request;
    const outputs = readClientOutputs(facade, result, rows);
    if (typeof outputs === "string") throw new UnusableResult(outputs);
    const wanted = asked.length === 0 ? outputs : outputs.filter(({ name }) => asked.includes(name));
    this.#end({ ...this.#answer!, outputs: wanted, rows });
  }

  #onFailure(hook: HookName, error: unknown): void {
    const { ended, failed } = this.#shared;
    try {
      const failure = hookFailureOf(error, hook, this.#model.name);
      ended(hook, failure.code === "invalid_input" ? "invalid" : "error");
      if (failure.code !== "invalid_input") failed(hook, error, this.requestId);
      this.#end({ ok: false, ...failure, stages: this.#stages });
    } catch (defect) {
      failed(hook, defect, this.requestId);
    }
  }

  get #isDone(): boolean {
    return this.#state === "done";
  }

  get #stages(): StageDurations {
    return this.#answer?.stages ?? NO_STAGES;
  }

  #end(answer: InferenceAnswer | undefined): void {
    this.#shared.deadlines.remove(this);
    const wasPostprocessing = this.#state === "postprocessing";
    const wasPreprocessing = this.#state === "preprocessing";
    this.#state = "done";
    if (answer === undefined) return this.#onEnd(this, undefined);
    const nowMs = performance.now();
    const hooks = {
      preprocessMs: wasPreprocessing ? nowMs - this.startedMs : this.#preprocessMs,
      postprocessMs: wasPostprocessing ? nowMs - this.#postprocessFromMs : 0,
    };
    this.#onEnd(this, { ...answer, hooks });
  }

  #given(): HookRequest {
    const { inputs, rows } = this.request;
    return { inputs: toHookTensors(inputs), rows };
  }
}

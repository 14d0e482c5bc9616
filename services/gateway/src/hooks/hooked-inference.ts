import { setTimeout as sleep } from "node:timers/promises";
import type { HookEvent, HookRecord } from "@millrace/hooks";
import { RequestTable } from "@millrace/protocol";
import type { Logger } from "@millrace/runtime";
import { DeadlineWheel, WHEEL_GRAIN_MS } from "../broker/deadline-wheel.ts";
import type { Inference, InferenceAnswer, InferenceRequest } from "../broker/inference.ts";
import { AfterQueue } from "./after-queue.ts";
import { HookCall, type HookedModel, type HookOutcome, NO_STAGES } from "./hook-call.ts";
import { type FoundHooks, loadHooks } from "./hook-folder.ts";
import type { HookName, Hooks } from "./hook-module.ts";
import { type HookRunner, type HookSinks, InlineRunner } from "./hook-runner.ts";
import { toHookTensors } from "./hook-tensor.ts";
import { HookThreads } from "./hook-threads.ts";
import { HookedModels } from "./hooked-models.ts";

/** Who counts what hooks do; all of it by the model's name. */
export type HookObserver = {
  /** There are hooks for a model of this name. */
  know(model: string): void;
  began(model: string, hook: HookName): void;
  left(model: string, hook: HookName): void;
  ended(model: string, hook: HookName, outcome: HookOutcome): void;
  event(model: string, event: HookEvent, times: number): void;
};

export type HookedInferenceOptions = {
  readonly inner: Inference;
  readonly found: ReadonlyMap<string, FoundHooks>;
  readonly logger: Logger;
  readonly observer: HookObserver | undefined;
  /** Calls of a model's `preprocess` and `postprocess` that may run at once, those that nobody waits for included. */
  readonly inFlightMax: number;
};

/**
 * Puts the hooks of a folder of models around inference; undefined where there are none, or no folder ("").
 * @throws {OptionError} when the folder cannot be read.
 */
export async function surroundWithHooks(
  folder: string,
  options: Omit<HookedInferenceOptions, "found">,
): Promise<HookedInference | undefined> {
  const found = folder === "" ? undefined : await loadHooks(folder);
  return found === undefined || found.size === 0 ? undefined : new HookedInference({ ...options, found });
}

/** Handles of calls with hooks; the inner side, which counts from 0 in either direction, never comes here. */
const FIRST_HANDLE = 2 ** 52;

/** How long an `after` hook may take, in milliseconds. */
const AFTER_TIMEOUT_MS = 30_000;

const AFTER_LIMITS = { runningMax: 64, waitingMax: 1_000, waitingBytesMax: 64 * 1024 * 1024 };

/** How long a drain waits for them, in milliseconds. */
const AFTER_DRAIN_MS = 5_000;

/** Errors of one hook of one model are logged so often, in milliseconds; what is between is counted. */
const LOG_EVERY_MS = 1_000;

type Known = { readonly hooks: Hooks | string; readonly shared: HookedModel | undefined; readonly after: AfterQueue };

/**
 * Inference with hooks around it: to the HTTP side it is an Inference like the broker side, whose models are those that clients see.
 * Requests of models without hooks pass through.
 */
export class HookedInference implements Inference {
  readonly models: HookedModels<Known>;
  readonly #options: HookedInferenceOptions;
  readonly #known = new Map<string, Known>();
  readonly #runners: HookRunner[] = [];
  readonly #calls = new RequestTable<HookCall>();
  readonly #deadlines = new DeadlineWheel<HookCall>();
  #deadlineTimer: NodeJS.Timeout | undefined;
  #handles = FIRST_HANDLE;

  constructor(options: HookedInferenceOptions) {
    this.#options = options;
    for (const [name, { path, hooks }] of options.found) {
      const after = new AfterQueue(AFTER_LIMITS);
      const shared = typeof hooks === "string" ? undefined : this.#share(name, path, hooks);
      this.#known.set(name, { hooks, shared, after });
      if (typeof hooks === "string") options.logger.error({ model: name, path, reason: hooks }, "hooks cannot be used");
      else options.logger.info({ model: name, path, threads: hooks.threads }, "hooks are loaded");
    }
    this.models = new HookedModels(options.inner.models, this.#known);
  }

  submit(request: InferenceRequest, onAnswer: (answer: InferenceAnswer) => void): number {
    const hooked = this.models.hookedOf(request.model);
    const shared = hooked?.known.shared;
    if (hooked === undefined || shared === undefined) return this.#options.inner.submit(request, onAnswer);
    const handle = this.#handles++;
    const { inFlightMax } = this.#options;
    if (shared.running() >= inFlightMax) {
      setImmediate(onAnswer, tooMany(shared.name, inFlightMax));
      return handle;
    }
    const onEnd = (call: HookCall, answer: InferenceAnswer | undefined): void => {
      this.#calls.delete(handle);
      if (answer === undefined) return;
      onAnswer(answer);
      this.#after(hooked.known, call, answer);
    };
    const call = new HookCall(this.#options.inner, shared, { model: hooked.model, request, onEnd });
    this.#calls.set(handle, call);
    this.#deadlineTimer ??= setInterval(() => this.#expire(), WHEEL_GRAIN_MS);
    call.start();
    return handle;
  }

  cancel(handle: number): void {
    if (handle < FIRST_HANDLE) this.#options.inner.cancel(handle);
    else this.#calls.get(handle)?.cancel();
  }

  unreadyReason(): string {
    return this.#options.inner.unreadyReason();
  }

  readTotals(onTotals: Parameters<Inference["readTotals"]>[0]): void {
    this.#options.inner.readTotals(onTotals);
  }

  /** Waits for the `after` hooks that are under way, five seconds at most, and ends the threads. */
  async close(): Promise<void> {
    clearInterval(this.#deadlineTimer);
    const idle = Promise.all([...this.#known.values()].map(({ after }) => after.idle()));
    const isIdle = await Promise.race([idle, sleep(AFTER_DRAIN_MS, undefined, { ref: false })]);
    if (isIdle === undefined) this.#options.logger.warn({}, "some after hooks did not end in the drain");
    await Promise.all(this.#runners.map((runner) => runner.close()));
  }

  #expire(): void {
    for (const call of this.#deadlines.expire(performance.now())) call.expire();
    if (this.#calls.size > 0) return;
    clearInterval(this.#deadlineTimer);
    this.#deadlineTimer = undefined;
  }

  #share(name: string, path: string, hooks: Hooks): HookedModel {
    const { observer, logger } = this.#options;
    const sinks: HookSinks = {
      log: (level, fields, text) => logger[level]({ ...fields, model: name }, text),
      count: (event, times) => observer?.event(name, event, times),
    };
    const { threads } = hooks;
    const runner = threads > 0 ? new HookThreads({ path, threads, sinks }) : new InlineRunner(hooks, sinks);
    this.#runners.push(runner);
    observer?.know(name);
    let running = 0;
    const logged = new Map<HookName, { atMs: number; omitted: number }>();
    return {
      name,
      hooks,
      runner,
      deadlines: this.#deadlines,
      running: () => running,
      began: (hook) => {
        if (hook !== "after") running++;
        observer?.began(name, hook);
      },
      left: (hook) => {
        if (hook !== "after") running--;
        observer?.left(name, hook);
      },
      ended: (hook, outcome) => observer?.ended(name, hook, outcome),
      failed: (hook, error, requestId) => {
        const last = logged.get(hook) ?? { atMs: -Infinity, omitted: 0 };
        logged.set(hook, last);
        if (performance.now() - last.atMs < LOG_EVERY_MS) return void last.omitted++;
        const fields = { model: name, hook, "http.request.id": requestId, omitted: last.omitted };
        Object.assign(last, { atMs: performance.now(), omitted: 0 });
        try {
          logger.error({ ...fields, error }, "a hook failed");
        } catch {
          // It throws when it is looked at.
          logger.error(fields, "a hook failed, with what cannot be told");
        }
      },
    };
  }

  /** Starts the `after` hook, or lets it wait, if the model has one. */
  #after({ shared, after }: Known, call: HookCall, answer: InferenceAnswer): void {
    if (shared?.hooks.after === undefined) return;
    const { request } = call;
    const record = recordOf(call, answer);
    const isIn = after.add({
      bytes: request.payload.byteLength + (answer.ok ? sizeOf(answer) : 0),
      run: () => runAfter(shared, call, record),
    });
    if (!isIn) shared.ended("after", "dropped");
  }
}

/** Runs an `after` hook with a signal of its own: the request's has no more to say. Never rejects. */
async function runAfter(shared: HookedModel, call: HookCall, record: HookRecord): Promise<void> {
  const abort = new AbortController();
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const reason = new DOMException(`not done within ${AFTER_TIMEOUT_MS} ms`, "TimeoutError");
    abort.abort(reason);
    late.reject(reason);
  }, AFTER_TIMEOUT_MS);
  shared.began("after");
  const { model, requestId, state } = call;
  const scope = { model, requestId, state, signal: abort.signal, deadlineMs: performance.now() + AFTER_TIMEOUT_MS };
  const work = Promise.try(() => shared.runner.run({ hook: "after", given: record }, scope));
  try {
    await Promise.race([work.finally(() => shared.left("after")), late.promise]);
    shared.ended("after", "ok");
  } catch (error) {
    shared.ended("after", abort.signal.aborted ? "late" : "error");
    shared.failed("after", error, requestId);
  } finally {
    clearTimeout(timer);
  }
}

/** The answer where too many hooks have not come to their end. */
function tooMany(name: string, inFlightMax: number): InferenceAnswer {
  const message = `${inFlightMax} hooks of model ${JSON.stringify(name)} run, no more are accepted`;
  return { ok: false, code: "queue_full", message, retryAfterMs: 1_000, stages: NO_STAGES };
}

function sizeOf(answer: InferenceAnswer & { readonly ok: true }): number {
  return answer.outputs.reduce((bytes, { data }) => bytes + data.byteLength, 0);
}

function recordOf({ request, startedMs }: HookCall, answer: InferenceAnswer): HookRecord {
  const durationMs = performance.now() - startedMs;
  return {
    atMs: Date.now() - durationMs,
    durationMs,
    outcome: answer.ok ? "ok" : answer.code,
    request: { inputs: toHookTensors(request.inputs), rows: request.rows },
    outputs: answer.ok ? toHookTensors(answer.outputs) : {},
  };
}

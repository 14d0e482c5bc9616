import { Worker } from "node:worker_threads";
import type { Tensors } from "@millrace/hooks";
import type { FromHookThread, HookThreadSetup, HookWork, ThreadError, ToHookThread } from "./hook-message.ts";
import type { HookRunner, HookScope, HookSinks } from "./hook-runner.ts";

/** How long a thread may take to hear that nobody waits for a call any longer, before it is replaced, in milliseconds. */
const DEAF_MS = 1_000;

/** How long after a thread was started a new one may follow it, in milliseconds: one that cannot start would be tried for ever. */
const RESTART_MS = 1_000;

type Call = {
  readonly scope: HookScope;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
};

/**
 * Runs a model's hooks in threads; each call goes to the one with the fewest. A thread that is deaf, because a hook computes on
 * after its time, is replaced, as is one that crashes: its other calls then fail.
 */
export class HookThreads implements HookRunner {
  readonly #lanes: readonly Lane[];

  constructor(options: { readonly path: string; readonly threads: number; readonly sinks: HookSinks }) {
    this.#lanes = Array.from({ length: options.threads }, () => new Lane(options.path, options.sinks));
  }

  run(work: HookWork, scope: HookScope): Promise<unknown> {
    const least = this.#lanes.reduce((best, lane) => (lane.size < best.size ? lane : best));
    return least.run(work, scope);
  }

  async close(): Promise<void> {
    await Promise.all(this.#lanes.map((lane) => lane.close()));
  }
}

/** One thread at a time. */
class Lane {
  readonly #setup: HookThreadSetup;
  readonly #sinks: HookSinks;
  readonly #calls = new Map<number, Call>();
  #worker: Worker | undefined;
  #startedMs = -Infinity;
  #nextId = 0;

  constructor(path: string, sinks: HookSinks) {
    this.#setup = { path };
    this.#sinks = sinks;
    this.#worker = this.#start();
  }

  get size(): number {
    return this.#calls.size;
  }

  run(work: HookWork, scope: HookScope): Promise<unknown> {
    if (this.#worker === undefined && performance.now() - this.#startedMs < RESTART_MS) {
      return Promise.reject(new Error("the thread of hooks has ended"));
    }
    const worker = (this.#worker ??= this.#start());
    const id = this.#nextId++;
    const { model, requestId, deadlineMs, state, signal } = scope;
    const remainingMs = deadlineMs - performance.now();
    return new Promise((resolve, reject) => {
      const message: ToHookThread = { type: "run", id, work, model, requestId, remainingMs, state };
      worker.postMessage(message, buffersOf(work));
      this.#calls.set(id, { scope, resolve, reject });
      signal.addEventListener("abort", () => this.#abort(worker, id), { once: true });
    });
  }

  async close(): Promise<void> {
    this.#startedMs = Infinity;
    await this.#worker?.terminate();
  }

  #abort(worker: Worker, id: number): void {
    if (worker !== this.#worker || !this.#calls.has(id)) return;
    worker.postMessage({ type: "abort", id } satisfies ToHookThread, []);
    const timer = setTimeout(() => void worker.terminate(), DEAF_MS);
    const heard = (message: FromHookThread): void => {
      if (!("id" in message) || message.id !== id) return;
      clearTimeout(timer);
      worker.off("message", heard);
    };
    worker.on("message", heard);
    worker.once("exit", () => clearTimeout(timer));
  }

  #start(): Worker {
    this.#startedMs = performance.now();
    const worker = new Worker(new URL("./hook-thread.ts", import.meta.url), { workerData: this.#setup });
    worker.setMaxListeners(0);
    let cause: Error | undefined;
    worker.on("message", (message: FromHookThread) => this.#onMessage(message));
    worker.on("error", (error: unknown) => (cause = error instanceof Error ? error : new Error(String(error))));
    worker.once("exit", (code) => {
      if (this.#worker === worker) this.#worker = undefined;
      const error = new Error(`the thread of hooks has ended (code ${code})`, { cause });
      for (const { reject } of this.#calls.values()) reject(error);
      this.#calls.clear();
    });
    return worker;
  }

  #onMessage(message: FromHookThread): void {
    switch (message.type) {
      case "log":
        return this.#sinks.log(message.level, message.fields, message.text);
      case "count":
        return this.#sinks.count(message.event, message.times);
      case "done": {
        const call = this.#take(message.id);
        if (call !== undefined) Object.assign(call.scope.state, message.state);
        return call?.resolve(message.result);
      }
      case "failed":
        return this.#take(message.id)?.reject(toError(message.error));
      case "aborted":
        return;
    }
  }

  #take(id: number): Call | undefined {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    return call;
  }
}

/** What a thread may take over instead of copying it: the tensors were copied for this hook alone. */
function buffersOf(work: HookWork): ArrayBuffer[] {
  const sets: readonly Tensors[] =
    work.hook === "preprocess" ? [work.given.inputs] : [work.given.outputs, work.given.request.inputs];
  const buffers = sets
    .flatMap((tensors) => Object.values(tensors))
    .flatMap(({ data }) =>
      (Array.isArray(data) ? (data as Buffer[]) : [data as Uint8Array]).map(({ buffer }) => buffer),
    );
  return [...new Set(buffers)] as ArrayBuffer[];
}

function toError({ name, message, stack }: ThreadError): Error {
  const error = new Error(message);
  return Object.assign(error, { name, stack });
}

import { Worker } from "node:worker_threads";
import { type LoadedModel, type Ran, RunnerError } from "./runner.ts";
import type { LoadRequest, RunJob, RunnerReply, RunnerRequest, RunnerThreadSetup } from "./runner-message.ts";

export type RunnerThreadOptions = {
  /** Threads inside one run, at least 1. */
  readonly threads: number;
  /** For tests: every run takes this many milliseconds longer, in its compute time. Default 0. */
  readonly computeDelayMs?: number;
  /** For tests: another thread to start, which must answer the same messages. */
  readonly entry?: URL;
};

/**
 * - `running`: takes requests.
 * - `closing`: `close` was called: finishes what it has, takes nothing new.
 * - `ended`: the thread is gone, by `close` or by a failure of its own; everything is refused.
 */
export type RunnerThreadState = "running" | "closing" | "ended";

/** How a thread ended. `error` is what it threw, if it did; a `close` ends it with code 0 and without an error. */
export type RunnerThreadExit = { readonly code: number; readonly error: Error | undefined };

/** A run that waits inside the thread. */
export type RunAhead = {
  /** Undefined where it was not begun: it was called back in time, or its time was over. */
  readonly ran: Promise<Ran | undefined>;
  /** Calls it back; no harm if it has begun. Whether that came in time, `ran` tells. */
  readonly recall: () => void;
};

/** Far more than the requests that a thread has at one time: those that are called back do not take each other's place. */
const RECALLED_PLACES = 64;

type Pending = { readonly resolve: (reply: RunnerReply) => void; readonly reject: (error: Error) => void };
type Request = RunnerRequest extends infer R ? (R extends RunnerRequest ? Omit<R, "id"> : never) : never;

/** What the system calls the thread, and those that onnxruntime starts for it: in `top -H`, in profiles, in /proc. */
const THREAD_NAME = "slot";

/** Starts the thread of one slot. It holds no model yet. */
export function startRunnerThread(options: RunnerThreadOptions): RunnerThread {
  const { threads, computeDelayMs = 0, entry = new URL("./runner-thread.ts", import.meta.url) } = options;
  const recalled = new Int32Array(new SharedArrayBuffer(4 * RECALLED_PLACES)).fill(-1);
  const setup: RunnerThreadSetup = { threads, computeDelayMs, recalled };
  return new RunnerThread(new Worker(entry, { workerData: setup, name: THREAD_NAME }), recalled);
}

/**
 * The main thread's end of a runner thread. Requests are done one after the other in the order of the calls; a run may be asked
 * for while another runs, and then starts right behind it. Nothing here blocks.
 *
 * When the thread ends unexpectedly, everything that is pending is rejected with `internal`, and the owner starts a new one. A
 * crash of native code ends the whole process, and no thread protects from that.
 */
export class RunnerThread {
  readonly #worker: Worker;
  readonly #recalled: Int32Array<SharedArrayBuffer>;
  readonly #pending = new Map<number, Pending>();
  readonly #exit: Promise<RunnerThreadExit>;
  #state: RunnerThreadState = "running";
  #nextId = 0;
  #error: Error | undefined;

  constructor(worker: Worker, recalled: Int32Array<SharedArrayBuffer>) {
    this.#worker = worker;
    this.#recalled = recalled;
    worker.on("message", (reply: RunnerReply) => this.#settle(reply));
    // Bytes that cannot be read are a defect, and the request that they answer would wait for ever.
    worker.on("messageerror", (error: Error) => this.#fail(error));
    worker.on("error", (error: unknown) => (this.#error ??= error instanceof Error ? error : new Error(String(error))));
    this.#exit = new Promise((resolve) => {
      worker.once("exit", (code) => {
        this.#end(code);
        resolve({ code, error: this.#error });
      });
    });
  }

  get state(): RunnerThreadState {
    return this.#state;
  }

  /**
   * Loads a model and warms it up, in place of the one that has its number. Takes as long as the model takes, and no run is done
   * meanwhile.
   * @throws RunnerError `model_not_ready` when the model cannot serve; the message says why, for its owner. `internal` when the
   * thread is gone.
   */
  async load(request: LoadRequest): Promise<LoadedModel> {
    const reply = await this.#ask({ type: "load", ...request });
    if (reply.type !== "loaded") throw unexpected(reply);
    return reply.loaded;
  }

  /**
   * Runs a model. The input buffers are transferred: they are empty afterwards, also when the run fails. The output buffers
   * belong to the caller.
   * @throws RunnerError: `invalid_*` and `model_error` as HostedModel gives them, `internal` when the thread is gone.
   */
  async run(job: RunJob): Promise<Ran> {
    const reply = await this.#ask(
      { type: "run", ...job },
      job.inputs.map(({ data }) => data),
    );
    if (reply.type !== "ran") throw unexpected(reply);
    return reply.ran;
  }

  /**
   * Hands over a run while another one is on, so that the thread begins it by itself when that one ends. Buffers and errors are as
   * with `run`.
   */
  runAhead(job: RunJob, notAfterNs: bigint): RunAhead {
    const id = this.#nextId;
    const reply = this.#ask(
      { type: "run", ...job, notAfterNs },
      job.inputs.map(({ data }) => data),
    );
    const ran = reply.then((reply) => {
      if (reply.type === "skipped") return undefined;
      if (reply.type !== "ran") throw unexpected(reply);
      return reply.ran;
    });
    return { ran, recall: () => void Atomics.store(this.#recalled, id % this.#recalled.length, id) };
  }

  /** Frees a model. Unloading one that is not there does nothing. */
  async unload(model: number): Promise<void> {
    await this.#ask({ type: "unload", model });
  }

  /**
   * Finishes what was asked for, frees the models and ends the thread; resolves when it has ended. A run cannot be interrupted.
   * May be called again, and after the thread has ended.
   */
  async close(): Promise<void> {
    if (this.#state === "running") {
      const closing = this.#ask({ type: "close" });
      this.#state = "closing";
      // How it ended is told by onExit.
      closing.catch(() => {});
    }
    await this.#exit;
  }

  /** Calls back when the thread has ended, for whatever reason, after all pending requests were rejected. */
  onExit(listener: (exit: RunnerThreadExit) => void): void {
    void this.#exit.then(listener);
  }

  #ask(request: Request, transfer: readonly ArrayBuffer[] = []): Promise<RunnerReply> {
    if (this.#state !== "running")
      return Promise.reject(new RunnerError("internal", `the runner thread is ${this.#state}`));
    const id = this.#nextId;
    // Shared memory holds it in 31 bits; 2^31 requests later none of the same number is open.
    this.#nextId = (id + 1) & 0x7fff_ffff;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      try {
        this.#worker.postMessage({ ...request, id } satisfies RunnerRequest, transfer);
      } catch (error) {
        this.#pending.delete(id);
        reject(new RunnerError("internal", `a request cannot be sent to the runner thread: ${String(error)}`));
      }
    });
  }

  #settle(reply: RunnerReply): void {
    const pending = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if (reply.type === "failed") pending?.reject(new RunnerError(reply.code, reply.message));
    else pending?.resolve(reply);
  }

  #fail(error: Error): void {
    this.#error ??= error;
    void this.#worker.terminate();
  }

  #end(code: number): void {
    this.#state = "ended";
    const why = this.#error === undefined ? `with code ${code}` : `with an error: ${this.#error.message}`;
    for (const { reject } of this.#pending.values()) {
      reject(new RunnerError("internal", `the runner thread ended ${why}`));
    }
    this.#pending.clear();
  }
}

function unexpected(reply: RunnerReply): RunnerError {
  return new RunnerError("internal", `the runner thread answered with "${reply.type}"`);
}

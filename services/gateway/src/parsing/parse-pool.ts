import { Worker } from "node:worker_threads";
import type { ModelDescription } from "@millrace/protocol";
import type { FormRequest } from "../call/inference-call.ts";
import type { ParseReply, ParseRequest } from "./parse-message.ts";
import { Refusal } from "../http/refusal.ts";

/** Bodies that wait for a thread; one more is refused. Their bytes are bounded by those that the gateway holds. */
const WAITING_MAX = 64;

/** When a full queue may be tried again, in milliseconds: about what a body of the largest size takes. */
const RETRY_AFTER_MS = 1000;

/** A smaller body may be a view into what came over the socket, where others lie too: it is copied. */
const OWN_BYTES_MIN = 64 * 1024;

/** A body to be read, in which form and for which model: see `Form.read`. The body is taken: nobody may look at it afterwards. */
export type ParseTask = Pick<ParseRequest, "form" | "body" | "jsonBytes"> & { readonly model: ModelDescription };

/** A body on its way, for `cancel`. */
export type ParseJob = { readonly task: ParseTask; readonly onParsed: (request: FormRequest | Refusal) => void };

/** Reads large bodies somewhere else than on the event loop. */
export type BodyParser = Pick<ParsePool, "parse" | "cancel">;

export type ParsePoolOptions = {
  /** Bodies that are read at the same time, at least 1. */
  readonly threads: number;
  /** Is told what a thread failed with: a defect of ours. */
  readonly onDefect: (error: unknown) => void;
  /** For tests: another thread to start, which must answer the same messages. */
  readonly entry?: URL;
  /** For tests: the heap of a thread, in megabytes; without it node's default for the machine holds. */
  readonly heapMegabytes?: number;
};

/** Models that a thread keeps; with more of them under way at once, they are sent to it again and again. */
const MODELS_MAX = 16;

/** One thread, what it reads now, and the models that it has, by their place. */
type ParseThread = {
  readonly worker: Worker;
  job: ParseJob | undefined;
  readonly models: ModelDescription[];
  nextPlace: number;
};

/**
 * A few threads that turn large JSON bodies into requests, so that nobody else waits meanwhile. A body and a payload change hands
 * without being copied. Threads start when they are first needed, and again when they are lost; which body is done first is open.
 */
export class ParsePool {
  readonly #options: ParsePoolOptions;
  readonly #threads = new Set<ParseThread>();
  #waiting: ParseJob[] = [];
  #isClosed = false;

  constructor(options: ParsePoolOptions) {
    this.#options = options;
  }

  /**
   * Reads a body, whose memory is gone for the caller. `onParsed` is called once, with the request or why there is none (the same
   * texts as in line; `queue_full` at once where too many wait, `body_too_large` where its values need more memory than a thread
   * has, `internal` after a defect), unless the job is cancelled.
   */
  parse(task: ParseTask, onParsed: ParseJob["onParsed"]): ParseJob {
    const job: ParseJob = { task, onParsed };
    if (this.#waiting.length >= WAITING_MAX) {
      onParsed(
        new Refusal(
          "queue_full",
          `${WAITING_MAX} large bodies wait to be parsed, no more are accepted`,
          RETRY_AFTER_MS,
        ),
      );
    } else {
      this.#waiting.push(job);
      this.#dispatch();
    }
    return job;
  }

  /** Forgets a job. What a thread reads already is read to its end, for nobody. */
  cancel(job: ParseJob): void {
    this.#waiting = this.#waiting.filter((one) => one !== job);
    for (const thread of this.#threads) if (thread.job === job) thread.job = { ...job, onParsed: () => {} };
  }

  /** Ends the threads and forgets what they do; idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#waiting = [];
    await Promise.all(Array.from(this.#threads, ({ worker }) => worker.terminate()));
  }

  #dispatch(): void {
    while (this.#waiting.length > 0 && !this.#isClosed) {
      const thread = this.#idleThread();
      if (thread === undefined) return;
      const job = this.#waiting.shift()!;
      thread.job = job;
      const { form, model, jsonBytes } = job.task;
      const body = job.task.body.byteLength > OWN_BYTES_MIN ? job.task.body : Uint8Array.from(job.task.body);
      const request: ParseRequest = { form, ...placeOf(thread, model), body, jsonBytes };
      thread.worker.postMessage(request, [body.buffer as ArrayBuffer]);
    }
  }

  #idleThread(): ParseThread | undefined {
    for (const thread of this.#threads) if (thread.job === undefined) return thread;
    return this.#threads.size < this.#options.threads ? this.#startThread() : undefined;
  }

  #startThread(): ParseThread {
    const { entry = new URL("./parse-thread.ts", import.meta.url), heapMegabytes } = this.#options;
    const resourceLimits = heapMegabytes === undefined ? {} : { maxOldGenerationSizeMb: heapMegabytes };
    const worker = new Worker(entry, { resourceLimits });
    const thread: ParseThread = { worker, job: undefined, models: [], nextPlace: 0 };
    let failure: unknown;
    thread.worker.unref();
    thread.worker.on("message", (reply: ParseReply) => this.#settle(thread, reply));
    thread.worker.on("messageerror", (error) => {
      failure = error;
      void thread.worker.terminate();
    });
    thread.worker.on("error", (error) => (failure = error));
    thread.worker.once("exit", () => this.#onExit(thread, failure));
    this.#threads.add(thread);
    return thread;
  }

  #settle(thread: ParseThread, reply: ParseReply): void {
    const { job } = thread;
    thread.job = undefined;
    this.#dispatch();
    job?.onParsed("refusal" in reply ? refusalOf(reply.refusal) : reply.request);
  }

  /** A thread is gone, and what it has read with it; the next body starts another. */
  #onExit(thread: ParseThread, failure: unknown): void {
    this.#threads.delete(thread);
    if (this.#isClosed) return;
    const isFull = (failure as NodeJS.ErrnoException | undefined)?.code === "ERR_WORKER_OUT_OF_MEMORY";
    if (!isFull) this.#options.onDefect(failure ?? new Error("a parse thread ended"));
    thread.job?.onParsed(
      isFull
        ? new Refusal("body_too_large", "the values of the body need more memory than there is for one request")
        : new Refusal("internal", "the body could not be parsed, by a defect of the gateway"),
    );
    this.#dispatch();
  }
}

/** Where a thread has a model, and the model where it has to be told first. */
function placeOf(thread: ParseThread, model: ModelDescription): Pick<ParseRequest, "place" | "model"> {
  const known = thread.models.indexOf(model);
  if (known >= 0) return { place: known };
  const place = thread.nextPlace;
  thread.nextPlace = (place + 1) % MODELS_MAX;
  thread.models[place] = model;
  return { place, model };
}

function refusalOf({ code, message, retryAfterMs }: Refusal): Refusal {
  return new Refusal(code, message, retryAfterMs);
}

import { Worker } from "node:worker_threads";
import type { ModelDescription } from "@millrace/protocol";
import type { FormAnswer, FormRequest, WrittenAnswer } from "../call/inference-call.ts";
import type { FormOrder, FormPlace, FormReply, ReadOrder, WriteOrder } from "./form-message.ts";
import { copyOut } from "./copy-out.ts";
import { Refusal } from "../http/refusal.ts";

/** Bodies that wait for a thread; one more is refused. Their bytes are bounded by those that the gateway holds. */
const WAITING_MAX = 64;

/** When a full queue may be tried again, in milliseconds: about what a body of the largest size takes. */
const RETRY_AFTER_MS = 1000;

/** A smaller body may be a view into what came over the socket, where others lie too: it is copied. */
const OWN_BYTES_MIN = 64 * 1024;

/** A body to be read, in which form and for which model: see `Form.read`. The body is taken: nobody may look at it afterwards. */
export type ReadTask = ReadOrder & { readonly form: string; readonly model: ModelDescription };

/** An answer to be written, in which form: see `Form.write`. */
export type WriteTask = { readonly form: string; readonly answer: FormAnswer<FormRequest> };

/** Something on its way, for `cancel`. */
export type FormJob =
  | { readonly task: ReadTask; readonly onEnd: (request: FormRequest | Refusal) => void }
  | { readonly task: WriteTask; readonly onEnd: (answer: WrittenAnswer | Refusal) => void };

/** Reads large bodies and writes large answers somewhere else than on the event loop. */
export type FormThreads = Pick<FormPool, "read" | "write" | "cancel">;

export type FormPoolOptions = {
  /** Bodies and answers that are worked at at the same time, at least 1. */
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

/** One thread, what it works at now, and the models that it has, by their place. */
type FormThread = {
  readonly worker: Worker;
  job: FormJob | undefined;
  readonly models: ModelDescription[];
  nextPlace: number;
};

/**
 * A few threads that turn large JSON bodies into requests, and answers into large JSON, so that nobody else waits meanwhile. Bodies,
 * payloads and what is written change hands without being copied; outputs are copied, a piece at a time, because they lie in messages
 * that cannot. Answers go before bodies: they are nearer to their end. Threads start when they are first needed, and again when they
 * are lost; which job is done first is open.
 */
export class FormPool {
  readonly #options: FormPoolOptions;
  readonly #threads = new Set<FormThread>();
  #answers: FormJob[] = [];
  #bodies: FormJob[] = [];
  #isClosed = false;

  constructor(options: FormPoolOptions) {
    this.#options = options;
  }

  /**
   * Reads a body, whose memory is gone for the caller. `onEnd` is called once, with the request or why there is none (the same
   * texts as in line; `queue_full` at once where too many wait, `body_too_large` where its values need more memory than a thread
   * has, `internal` after a defect), unless the job is cancelled.
   */
  read(task: ReadTask, onEnd: (request: FormRequest | Refusal) => void): FormJob {
    const job: FormJob = { task, onEnd };
    if (this.#bodies.length >= WAITING_MAX) {
      const text = `${WAITING_MAX} large bodies wait to be parsed, no more are accepted`;
      onEnd(new Refusal("queue_full", text, RETRY_AFTER_MS));
    } else {
      this.#bodies.push(job);
      this.#dispatch();
    }
    return job;
  }

  /**
   * Writes an answer, whose outputs must not change until then. `onEnd` is called once, later, with the answer or why there is none
   * (`answer_too_large` where it needs more memory than a thread has, `internal` after a defect), unless the job is cancelled. How
   * many wait is for the caller to bound: they have been run already.
   */
  write(task: WriteTask, onEnd: (answer: WrittenAnswer | Refusal) => void): FormJob {
    const job: FormJob = { task, onEnd };
    this.#answers.push(job);
    this.#dispatch();
    return job;
  }

  /** Forgets a job. What a thread works at already is done to its end, for nobody. */
  cancel(job: FormJob): void {
    this.#bodies = this.#bodies.filter((one) => one !== job);
    this.#answers = this.#answers.filter((one) => one !== job);
    for (const thread of this.#threads) if (thread.job === job) thread.job = { ...job, onEnd: () => {} };
  }

  /** Ends the threads and forgets what they do; idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#answers = [];
    this.#bodies = [];
    await Promise.all(Array.from(this.#threads, ({ worker }) => worker.terminate()));
  }

  #dispatch(): void {
    while (this.#answers.length + this.#bodies.length > 0 && !this.#isClosed) {
      const thread = this.#idleThread();
      if (thread === undefined) return;
      const job = (this.#answers.shift() ?? this.#bodies.shift())!;
      thread.job = job;
      try {
        if ("answer" in job.task) orderWriting(thread, job.task);
        else orderReading(thread, job.task);
      } catch (error) {
        // There is no memory for its copy, and the thread has heard of nothing.
        this.#options.onDefect(error);
        setImmediate(() => this.#settle(thread, { refusal: lossOf(job, false) }));
      }
    }
  }

  #idleThread(): FormThread | undefined {
    for (const thread of this.#threads) if (thread.job === undefined) return thread;
    return this.#threads.size < this.#options.threads ? this.#startThread() : undefined;
  }

  #startThread(): FormThread {
    const { entry = new URL("./form-thread.ts", import.meta.url), heapMegabytes } = this.#options;
    const resourceLimits = heapMegabytes === undefined ? {} : { maxOldGenerationSizeMb: heapMegabytes };
    const worker = new Worker(entry, { resourceLimits });
    const thread: FormThread = { worker, job: undefined, models: [], nextPlace: 0 };
    let failure: unknown;
    thread.worker.unref();
    thread.worker.on("message", (reply: FormReply) => this.#settle(thread, reply));
    thread.worker.on("messageerror", (error) => {
      failure = error;
      void thread.worker.terminate();
    });
    thread.worker.on("error", (error) => (failure = error));
    thread.worker.once("exit", () => this.#onExit(thread, failure));
    this.#threads.add(thread);
    return thread;
  }

  #settle(thread: FormThread, reply: FormReply): void {
    const { job } = thread;
    thread.job = undefined;
    this.#dispatch();
    end(job, "refusal" in reply ? refusalOf(reply.refusal) : "request" in reply ? reply.request : reply.written);
  }

  /** A thread is gone, and what it worked at with it; the next job starts another. */
  #onExit(thread: FormThread, failure: unknown): void {
    this.#threads.delete(thread);
    if (this.#isClosed) return;
    const isFull = (failure as NodeJS.ErrnoException | undefined)?.code === "ERR_WORKER_OUT_OF_MEMORY";
    if (!isFull) this.#options.onDefect(failure ?? new Error("a thread for large bodies and answers ended"));
    end(thread.job, lossOf(thread.job, isFull));
    this.#dispatch();
  }
}

/** A job is told what a thread has made of it, which is of its kind. */
function end(job: FormJob | undefined, result: FormRequest | WrittenAnswer | Refusal): void {
  (job?.onEnd as ((result: FormRequest | WrittenAnswer | Refusal) => void) | undefined)?.(result);
}

function orderReading(thread: FormThread, { form, model, body, jsonBytes }: ReadTask): void {
  const own = body.byteLength > OWN_BYTES_MIN ? body : Uint8Array.from(body);
  const order: FormOrder = { form, ...placeOf(thread, model), body: own, jsonBytes };
  thread.worker.postMessage(order, [own.buffer as ArrayBuffer]);
}

/** The outputs lie in the memory of messages, with those of other requests, and cannot change hands: the thread gets a copy. */
function orderWriting(thread: FormThread, { form, answer: given }: WriteTask): void {
  const { model, answer, request, ...rest } = given;
  const { inputs: _, payload: __, ...asked } = request;
  copyOut(answer.outputs, (outputs, memory) => {
    const told: WriteOrder["answer"] = { ...rest, request: asked, answer: { ...answer, outputs } };
    const order: FormOrder = { form, ...placeOf(thread, model), answer: told };
    thread.worker.postMessage(order, [memory]);
  });
}

/** Why a job ended with its thread. */
function lossOf(job: FormJob | undefined, isFull: boolean): Refusal {
  const isAnswer = job !== undefined && "answer" in job.task;
  if (!isFull) {
    const text = isAnswer ? "the answer could not be written" : "the body could not be parsed";
    return new Refusal("internal", `${text}, by a defect of the gateway`);
  }
  return isAnswer
    ? new Refusal("answer_too_large", "the answer needs more memory than there is for one; ask for it in binary form")
    : new Refusal("body_too_large", "the values of the body need more memory than there is for one request");
}

/** Where a thread has a model, and the model where it has to be told first. */
function placeOf(thread: FormThread, model: ModelDescription): Pick<FormPlace, "place" | "model"> {
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

import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Content,
  ERROR_CODES,
  type Load,
  type Message,
  type MessageOf,
  PING_EVERY_MS,
  type WorkerModel,
} from "@millrace/protocol";
import type { Logger, Stage } from "@millrace/runtime";
import { BrokerLink } from "@millrace/transport";
import { answersOf, type Job, jobOf, prepare, prepareAlone, type Prepared, refusalsOf } from "./job.ts";
import type { RunnerThread } from "./runner-host.ts";
import { type Ran, RunnerError } from "./runner.ts";
import { Slot } from "./slot.ts";

export type WorkerOptions = {
  readonly address: string;
  readonly instance: string;
  readonly bytesMax: number;
  readonly models: readonly WorkerModel[];
  /** One a slot; each has loaded all ready models, under their index. */
  readonly threads: readonly Pick<RunnerThread, "run">[];
  readonly logger: Logger;
  /** Called at the first WELCOME. */
  readonly onWelcome: () => void;
  readonly testDelays: ReadonlyMap<Stage, number>;
};

/**
 * - `serving`: takes batches.
 * - `draining`: finishes what runs and takes nothing new, over however many sessions that lasts. Entered by `drain`; final.
 */
type WorkerState =
  | { readonly name: "serving" }
  | { readonly name: "draining"; readonly reason: string; readonly onDrained: () => void };

/** One model run and the part of the batch that took part in it. */
type Piece = { readonly prepared: Prepared; readonly ran: Ran };

/** How a batch went. `failedMs`: time in a run of all requests that failed, after which each ran alone; 0 if there was none. */
type Execution = { readonly pieces: readonly Piece[]; readonly failedMs: number };

/** The worker's shell: takes batches from the broker, lets slots run them, sends answers and credit. */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #slots: readonly Slot[];
  readonly #link: BrokerLink;
  #session = 0;
  #state: WorkerState = { name: "serving" };
  /** For the test delay of `retry`: requests whose first attempt was failed on purpose. */
  readonly #failedOnce = new Set<string>();

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#slots = options.threads.map((_, index) => new Slot(index));
    this.#link = new BrokerLink({
      address: options.address,
      hello: this.#hello(),
      load: () => this.#load(),
      handlers: {
        onActive: (welcome) => this.#onActive(welcome),
        onLost: (reason) => options.logger.warn({ reason }, "lost the broker"),
        onMessage: (message) => this.#onMessage(message),
      },
      onFault: (reason) => options.logger.warn({ address: options.address, reason }, "trouble with the broker"),
    });
  }

  get isConnected(): boolean {
    return this.#link.state === "active";
  }

  /** Batches that are here. */
  get outstanding(): number {
    return this.#slots.reduce((sum, slot) => sum + slot.outstanding, 0);
  }

  /** Asks the broker to send nothing new, hands back what has not started, finishes what runs, says goodbye. */
  async drain(reason: string): Promise<void> {
    const drained = new Promise<void>((onDrained) => (this.#state = { name: "draining", reason, onDrained }));
    // Without a session there is nobody to hand anything back to: only the running batches are waited for.
    if (!this.#sendDrain(reason)) this.#handBack();
    this.#checkDrained();
    await drained;
    this.#link.close(reason);
  }

  #onActive(welcome: Content<"WELCOME">): void {
    const { logger, models, onWelcome } = this.#options;
    logger.info({ broker: welcome.instance, models: models.length }, "connected to the broker");
    this.#session++;
    for (const slot of this.#slots) slot.resetCredit();
    if (this.#state.name === "draining") return void this.#sendDrain(this.#state.reason);
    this.#link.send({ command: "MODELS", revision: this.#session, models: [...models] });
    this.#sendCredit();
    onWelcome();
  }

  #sendDrain(reason: string): boolean {
    return this.#link.send({ command: "DRAIN", reason, graceMs: 0 });
  }

  #onMessage(message: Message): void {
    switch (message.command) {
      case "JOB":
        return this.#onJob(message);
      case "CANCEL":
        for (const { batch, request } of message.items) {
          const entry = this.#find(batch)?.entries[request];
          if (entry !== undefined) entry.cancelled = true;
        }
        return;
      case "DRAINED":
        this.#handBack();
        return this.#checkDrained();
      case "DRAIN":
        return;
      default:
        this.#options.logger.warn({ command: message.command }, "the broker sent a command that workers do not take");
    }
  }

  #onJob(message: MessageOf<"JOB">): void {
    const slot = this.#slots[message.slot];
    const model = this.#options.models[message.model]?.model;
    if (slot === undefined || model?.state !== "ready") {
      return this.#nack(message.batch, { started: true, text: "no such slot or model here" });
    }
    const nowMs = performance.now();
    const job = jobOf(message, { session: this.#session, model }, nowMs);
    slot.stage(job);
    // While another batch runs there is time to put this one together.
    if (slot.running !== undefined) prepare(job, nowMs);
    this.#startNext(slot);
  }

  #startNext(slot: Slot): void {
    const job = slot.startNext();
    if (job !== undefined) void this.#run(slot, job);
  }

  async #run(slot: Slot, job: Job): Promise<void> {
    if (this.#options.testDelays.size > 0 && (await this.#delayForTest(slot, job))) return;
    const execution = await this.#execute(slot, job);
    slot.finish();
    // The next batch starts before this one's answers are cut and encoded.
    this.#startNext(slot);
    await sleepIf(this.#options.testDelays.get("network"));
    const isServing = this.#state.name === "serving";
    // The answer grants the place of its batch anew. A lost session's batch has no answer: the new session was not granted its place.
    if (job.session === this.#session) {
      const granted = isServing ? slot.granted : 0;
      this.#link.send(resultOf(job, execution, { worker: this.#options.instance, granted }));
    } else if (isServing) this.#sendCredit();
    this.#checkDrained();
  }

  /**
   * Runs what is worth running. A batch that fails as a whole is run once more, one request at a time: one request that the
   * model cannot take must not cost the others their answer.
   */
  async #execute(slot: Slot, job: Job): Promise<Execution> {
    const startedMs = performance.now();
    const prepared = prepare(job, startedMs);
    if (prepared.live.length === 0) return { pieces: [], failedMs: 0 };
    const ran = await this.#runOnce(slot, job, prepared);
    if (ran !== undefined) return { pieces: [{ prepared, ran }], failedMs: 0 };
    if (prepared.live.length === 1) return { pieces: [], failedMs: 0 };
    const failedMs = performance.now() - startedMs;
    for (const index of prepared.live) job.entries[index]!.fault = undefined;
    const pieces: Piece[] = [];
    for (const index of prepared.live) {
      const alone = prepareAlone(job, index, performance.now());
      if (alone === undefined) continue;
      const ranAlone = await this.#runOnce(slot, job, alone);
      if (ranAlone !== undefined) pieces.push({ prepared: alone, ran: ranAlone });
    }
    return { pieces, failedMs };
  }

  /** One model run; undefined where it failed, and then every entry that took part has the fault. */
  async #runOnce(slot: Slot, job: Job, prepared: Prepared): Promise<Ran | undefined> {
    try {
      return await this.#options.threads[slot.index]!.run({ model: job.index, inputs: prepared.assembled.inputs });
    } catch (error) {
      const code = error instanceof RunnerError ? error.code : "internal";
      const message = error instanceof Error ? error.message : String(error);
      this.#options.logger.warn(
        { model: job.model.name, requests: prepared.live.length, error: message },
        "a run failed",
      );
      for (const index of prepared.live) job.entries[index]!.fault = { code, message };
      return undefined;
    }
  }

  /** Hands back every batch that has not started. */
  #handBack(): void {
    for (const slot of this.#slots) {
      for (const job of slot.unstage()) this.#nack(job.batch, { started: false, text: "the worker is shutting down" });
    }
  }

  #nack(batch: number, why: { readonly started: boolean; readonly text: string }): void {
    const code = ERROR_CODES.unavailable.number;
    this.#link.send({ command: "NACK", batch, code, retryAfterMs: 0, ...why });
  }

  #checkDrained(): void {
    if (this.#state.name === "draining" && this.outstanding === 0) this.#state.onDrained();
  }

  #find(batch: number): Job | undefined {
    for (const slot of this.#slots) {
      const job = slot.find(batch);
      if (job !== undefined) return job;
    }
    return undefined;
  }

  #sendCredit(): void {
    const granted = this.#slots.map((slot) => slot.granted);
    this.#link.send({ command: "CREDIT", fence: 0, granted, grantedBytes: 0 });
  }

  #load(): Load {
    const nowMs = performance.now();
    const ages = this.#slots.map((slot) => (slot.running === undefined ? 0 : nowMs - slot.running.receivedMs));
    return {
      queuedRows: 0,
      runningBatches: this.outstanding,
      oldestMs: Math.round(Math.max(0, ...ages)),
      progressAgeMs: Math.round(Math.max(0, ...ages)),
      granted: this.#slots.map((slot) => slot.granted),
      dispatched: [],
    };
  }

  #hello(): Content<"HELLO"> {
    const { instance, bytesMax, threads } = this.#options;
    const none = { features: [], proof: Buffer.alloc(0) };
    return {
      role: "worker",
      instance,
      pool: "default",
      pingIntervalMs: PING_EVERY_MS,
      slots: threads.length,
      bytesMax,
      ...none,
    };
  }

  /** For tests: waits before the run, or fails the first attempt of a batch after a while. True if the batch was handed back. */
  async #delayForTest(slot: Slot, job: Job): Promise<boolean> {
    const { testDelays } = this.#options;
    await sleepIf(testDelays.get("batch_wait"));
    const retryMs = testDelays.get("retry");
    const keys = job.entries.map(({ origin, request }) => `${origin}/${request}`);
    if (retryMs === undefined || keys.every((key) => this.#failedOnce.has(key))) return false;
    for (const key of keys) this.#failedOnce.add(key);
    await sleep(retryMs);
    slot.finish();
    this.#nack(job.batch, { started: true, text: "failed on purpose, for a test" });
    this.#sendCredit();
    this.#startNext(slot);
    return true;
  }
}

/** The clock of the runner threads (process.hrtime) at zero of ours (performance.now). */
const CLOCK_ORIGIN_NS = process.hrtime.bigint() - BigInt(Math.round(performance.now() * 1e6));

/**
 * The answers of a batch. `batchRows` is 0 where the requests ran one by one, or none ran: no number fits all of them, and the
 * curve must learn nothing from it. The run that failed before is their retry, not their wait.
 */
function resultOf(
  job: Job,
  { pieces, failedMs }: Execution,
  given: { readonly worker: string; readonly granted: number },
): MessageOf<"RESULT"> {
  const [first] = pieces;
  const startedMs = first === undefined ? job.receivedMs : Number(first.ran.startedNs - CLOCK_ORIGIN_NS) / 1e6;
  const computeMs = pieces.reduce((sum, { ran }) => sum + ran.computeMs, 0);
  const answers = pieces.flatMap(({ prepared, ran }) => answersOf(job, prepared, ran.outputs));
  const retryUs = Math.round(failedMs * 1000);
  return {
    command: "RESULT",
    batch: job.batch,
    worker: given.worker,
    batchRows: failedMs === 0 && first !== undefined ? first.prepared.assembled.rows : 0,
    batchWaitUs: Math.max(0, Math.round((startedMs - job.receivedMs - failedMs) * 1000)),
    computeUs: Math.round(computeMs * 1000),
    items: [...answers, ...refusalsOf(job)].map((item) => (retryUs === 0 ? item : { ...item, retryUs })),
    granted: given.granted,
  };
}

async function sleepIf(ms: number | undefined): Promise<void> {
  if (ms !== undefined && ms > 0) await sleep(ms);
}

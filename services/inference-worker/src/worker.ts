import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Content,
  ERROR_CODES,
  type Load,
  type Message,
  type MessageOf,
  PING_EVERY_MS,
  requestIdsOf,
  type WorkerModel,
} from "@millrace/protocol";
import type { Logger, Stage } from "@millrace/runtime";
import { BrokerLinks, type BrokerLinksOptions } from "@millrace/transport";
import {
  answersOf,
  firstDeadlineMs,
  type Job,
  jobOf,
  prepare,
  prepareAlone,
  type Prepared,
  refusalsOf,
  type RunEnd,
  type Session,
} from "./job.ts";
import { clockOriginNs } from "./clock-origin.ts";
import type { CurveBook } from "./curve-book.ts";
import type { WorkerObserver } from "./metrics.ts";
import type { Padding } from "./padding.ts";
import type { RunnerThread } from "./runner-host.ts";
import { type Ran, RunnerError } from "./runner.ts";
import { Slot } from "./slot.ts";

/** A model as brokers are told of it, and how its inputs are padded, which only the worker needs to know. */
export type ServedModel = WorkerModel & { readonly padding: Padding | undefined };

export type WorkerOptions = Pick<BrokerLinksOptions, "brokers" | "discoveryIntervalMs" | "dnsServers"> & {
  readonly instance: string;
  readonly bytesMax: number;
  /** Without their curves: those are in the book. */
  readonly models: readonly ServedModel[];
  /** What is learned from every run, and told to each broker that is found. */
  readonly curves: CurveBook;
  /** One a slot; each has loaded the ready models that name it, under their index. */
  readonly threads: readonly Pick<RunnerThread, "run" | "runAhead">[];
  readonly observer: WorkerObserver;
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

/**
 * The worker's shell: takes batches from every broker that it finds, lets slots run them, sends answers and credit. Each broker
 * is granted the whole window: gateways use one broker at a time, and while they change over, the slots take turns.
 */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #slots: readonly Slot[];
  readonly #links: BrokerLinks;
  /** The open sessions, by broker. */
  readonly #sessions = new Map<string, Session>();
  #revision = 0;
  #state: WorkerState = { name: "serving" };
  /** For the test delay of `retry`: requests whose first attempt was failed on purpose. */
  readonly #failedOnce = new Set<string>();

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#slots = options.threads.map((_, index) => new Slot(index));
    const { brokers, discoveryIntervalMs, dnsServers, logger } = options;
    this.#links = new BrokerLinks({
      brokers,
      discoveryIntervalMs,
      dnsServers,
      hello: this.#hello(),
      load: (broker) => this.#load(broker),
      handlers: {
        onActive: (broker, welcome) => this.#onActive(broker, welcome),
        onLost: (broker, reason) => this.#onLost(broker, reason),
        onGivenUp: (broker) => options.observer.brokerGivenUp(broker),
        onMessage: (broker, message) => this.#onMessage(broker, message),
      },
      logger,
    });
  }

  /** Whether a broker can send batches here. */
  get isConnected(): boolean {
    return this.#sessions.size > 0;
  }

  /** The connections to brokers, for metrics. */
  get links(): BrokerLinks {
    return this.#links;
  }

  /** Batches that are here. */
  get outstanding(): number {
    return this.#slots.reduce((sum, slot) => sum + slot.outstanding, 0);
  }

  /** Asks the brokers to send nothing new, hands back what has not started, finishes what runs, says goodbye. */
  async drain(reason: string): Promise<void> {
    const drained = new Promise<void>((onDrained) => (this.#state = { name: "draining", reason, onDrained }));
    for (const session of this.#sessions.values()) this.#sendDrain(session, reason);
    this.#checkDrained();
    await drained;
    this.#links.close(reason);
  }

  #onActive(broker: string, welcome: Content<"WELCOME">): void {
    const { logger, models, observer, onWelcome } = this.#options;
    observer.brokerFound(broker);
    logger.info({ broker: welcome.instance, address: broker, models: models.length }, "connected to the broker");
    const session = { broker, granted: this.#slots.map((slot) => slot.windowOf(broker)) };
    this.#sessions.set(broker, session);
    if (this.#state.name === "draining") return this.#sendDrain(session, this.#state.reason);
    const announced = models.map((model) => ({ ...model, curve: this.#options.curves.announced(model.index) }));
    this.#send(session, { command: "MODELS", revision: ++this.#revision, models: announced });
    this.#sendCredit(session);
    onWelcome();
  }

  /** The broker has what was staged run elsewhere; what runs here runs on for nobody. */
  #onLost(broker: string, reason: string): void {
    this.#options.logger.warn({ address: broker, reason }, "lost the broker");
    this.#options.observer.brokerLost(broker);
    const session = this.#sessions.get(broker);
    this.#sessions.delete(broker);
    if (session !== undefined)
      for (const slot of this.#slots) for (const job of slot.unstage(session)) job.ahead?.recall();
    this.#checkDrained();
  }

  #sendDrain(session: Session, reason: string): void {
    this.#send(session, { command: "DRAIN", reason, graceMs: 0 });
  }

  #onMessage(broker: string, message: Message): void {
    const session = this.#sessions.get(broker);
    if (session === undefined) return;
    switch (message.command) {
      case "JOB":
        return this.#onJob(session, message);
      case "CANCEL":
        for (const { batch, request } of message.items) {
          const job = this.#find(session, batch);
          const entry = job?.entries[request];
          if (entry === undefined) continue;
          entry.cancelled = true;
          job?.ahead?.recall();
        }
        return;
      case "DRAINED":
        this.#handBack(session);
        return this.#checkDrained();
      case "DRAIN":
        return;
      default:
        this.#options.logger.warn({ command: message.command }, "the broker sent a command that workers do not take");
    }
  }

  #onJob(session: Session, message: MessageOf<"JOB">): void {
    const slot = this.#slots[message.slot];
    const served = this.#options.models[message.model];
    if (slot === undefined || served === undefined || !isIn(served, slot)) {
      return this.#nack(session, message.batch, { started: true, text: "no such slot or model here" });
    }
    const nowMs = performance.now();
    const job = jobOf(message, { session, model: served.model, padding: served.padding }, nowMs);
    slot.stage(job);
    if (slot.running === undefined) return this.#startNext(slot);
    // While another batch runs there is time to put this one together.
    prepare(job, nowMs);
    if (slot.outstanding === 2) this.#runAhead(slot, job);
  }

  /**
   * Hands the batch behind the running one to the slot's thread, which then begins it without a word from here: until this
   * thread has its turn, the slot would rest. It stays staged: until it begins it can be called back.
   */
  #runAhead(slot: Slot, job: Job): void {
    const { prepared } = job;
    if (prepared === undefined || prepared.live.length === 0 || this.#options.testDelays.size > 0) return;
    const notAfterNs = CLOCK_ORIGIN_NS + BigInt(Math.floor(firstDeadlineMs(job, prepared) * 1e6));
    const run = { model: job.index, inputs: prepared.assembled.inputs };
    const { ran, recall } = this.#options.threads[slot.index]!.runAhead(run, notAfterNs);
    job.ahead = { prepared, end: this.#endOf(job, prepared, ran), recall };
    // Its buffers are the thread's now: what is put together again gets new ones.
    job.prepared = undefined;
  }

  #startNext(slot: Slot): void {
    const job = slot.startNext();
    if (job !== undefined) void this.#run(slot, job);
  }

  async #run(slot: Slot, job: Job): Promise<void> {
    if (this.#options.testDelays.size > 0 && (await this.#delayForTest(slot, job))) return;
    const startedMs = performance.now();
    const execution = await this.#execute(slot, job);
    const busyMs = performance.now() - startedMs;
    this.#retire(slot, job);
    // The next batch starts before this one's answers are cut and encoded.
    this.#startNext(slot);
    const runs = execution.pieces.map(({ prepared, ran }) => ({
      rows: prepared.assembled.rows,
      elements: prepared.assembled.elements,
      paddingElements: prepared.assembled.paddingElements,
      computeMs: ran.computeMs,
    }));
    for (const { rows, computeMs } of runs)
      this.#options.curves.record(job.index, { bucket: job.bucket, rows, timeMs: computeMs });
    this.#options.observer.batchDone(job.index, { runs, waitMs: waitMsOf(job, execution), busyMs });
    await sleepIf(this.#options.testDelays.get("network"));
    const session = this.#sessions.get(job.session.broker);
    const isServing = this.#state.name === "serving";
    if (session === job.session) {
      // The answer grants the place of its batch anew.
      const granted = isServing ? session.granted[slot.index]! : 0;
      const result = resultOf(job, execution, { worker: this.#options.instance, granted });
      this.#options.observer.answered(job.index, result.items);
      this.#send(session, result);
    } else if (session !== undefined && isServing) {
      // A lost session's batch has no answer: the new session was not granted its place.
      this.#sendCredit(session);
    }
    this.#checkDrained();
  }

  /** The running batch is done: its broker gets its place anew, in whichever session it has by now. */
  #retire(slot: Slot, job: Job): void {
    slot.finish();
    const session = this.#sessions.get(job.session.broker);
    if (session !== undefined) session.granted[slot.index]!++;
  }

  /**
   * Runs what is worth running. A batch that fails as a whole is run once more, one request at a time: one request that the
   * model cannot take must not cost the others their answer.
   */
  async #execute(slot: Slot, job: Job): Promise<Execution> {
    const startedMs = performance.now();
    const { prepared, end } = await this.#runWhole(slot, job);
    if (isRan(end)) return { pieces: [{ prepared, ran: end }], failedMs: 0 };
    if (end === "skipped" || prepared.live.length === 1) return { pieces: [], failedMs: 0 };
    const failedMs = performance.now() - startedMs;
    for (const index of prepared.live) job.entries[index]!.fault = undefined;
    const pieces: Piece[] = [];
    for (const index of prepared.live) {
      const alone = prepareAlone(job, index, performance.now());
      if (alone === undefined) continue;
      const aloneEnd = await this.#runOnce(slot, job, alone);
      if (isRan(aloneEnd)) pieces.push({ prepared: alone, ran: aloneEnd });
    }
    return { pieces, failedMs };
  }

  /** Runs the batch as it is, unless the thread has done so already; `skipped` where none of it is worth running. */
  async #runWhole(slot: Slot, job: Job): Promise<{ readonly prepared: Prepared; readonly end: RunEnd }> {
    if (job.ahead !== undefined) {
      const { prepared } = job.ahead;
      const end = await job.ahead.end;
      if (end !== "skipped") return { prepared, end };
    }
    const prepared = prepare(job, performance.now());
    return { prepared, end: prepared.live.length === 0 ? "skipped" : await this.#runOnce(slot, job, prepared) };
  }

  #runOnce(slot: Slot, job: Job, prepared: Prepared): Promise<RunEnd> {
    const run = { model: job.index, inputs: prepared.assembled.inputs };
    return this.#endOf(job, prepared, this.#options.threads[slot.index]!.run(run));
  }

  /** Never rejects. */
  async #endOf(job: Job, prepared: Prepared, running: Promise<Ran | undefined>): Promise<RunEnd> {
    try {
      return (await running) ?? "skipped";
    } catch (error) {
      const code = error instanceof RunnerError ? error.code : "internal";
      const message = error instanceof Error ? error.message : String(error);
      // The runtime's own words may quote the input: they are for the client alone.
      const ids = requestIdsOf(prepared.live.map((index) => job.entries[index]!.trace));
      const fields = { model: job.model.name, requests: prepared.live.length, "http.request.id": ids };
      this.#options.logger.warn({ ...fields, "error.code": code }, "a run failed");
      for (const index of prepared.live) job.entries[index]!.fault = { code, message };
      return "failed";
    }
  }

  /** Hands back every batch of a session that has not started. */
  #handBack(session: Session): void {
    for (const slot of this.#slots) {
      for (const { batch, ahead } of slot.unstage(session)) {
        ahead?.recall();
        this.#nack(session, batch, { started: false, text: "the worker is shutting down" });
      }
    }
  }

  #nack(session: Session, batch: number, why: { readonly started: boolean; readonly text: string }): void {
    const code = ERROR_CODES.unavailable.number;
    this.#send(session, { command: "NACK", batch, code, retryAfterMs: 0, ...why });
  }

  /** What belongs to a lost session is not sent. */
  #send(session: Session, message: Message): void {
    if (this.#sessions.get(session.broker) === session) this.#links.send(session.broker, message);
  }

  #checkDrained(): void {
    if (this.#state.name === "draining" && this.outstanding === 0) this.#state.onDrained();
  }

  #find(session: Session, batch: number): Job | undefined {
    for (const slot of this.#slots) {
      const job = slot.find(session, batch);
      if (job !== undefined) return job;
    }
    return undefined;
  }

  #sendCredit(session: Session): void {
    this.#send(session, { command: "CREDIT", fence: 0, granted: session.granted, grantedBytes: 0 });
  }

  #load(broker: string): Load {
    const nowMs = performance.now();
    const ages = this.#slots.map((slot) => (slot.running === undefined ? 0 : nowMs - slot.running.receivedMs));
    return {
      queuedRows: 0,
      runningBatches: this.outstanding,
      oldestMs: Math.round(Math.max(0, ...ages)),
      progressAgeMs: Math.round(Math.max(0, ...ages)),
      granted: this.#sessions.get(broker)?.granted ?? [],
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
    const keys = job.entries.map(({ origin, request }) => `${Buffer.from(origin).toString("hex")}/${request}`);
    if (retryMs === undefined || keys.every((key) => this.#failedOnce.has(key))) return false;
    for (const key of keys) this.#failedOnce.add(key);
    await sleep(retryMs);
    this.#retire(slot, job);
    this.#nack(job.session, job.batch, { started: true, text: "failed on purpose, for a test" });
    const session = this.#sessions.get(job.session.broker);
    if (session !== undefined) this.#sendCredit(session);
    this.#startNext(slot);
    return true;
  }
}

/** Whether a model can be run in a slot. */
function isIn({ model, slots }: ServedModel, { index }: Slot): boolean {
  return model.state === "ready" && (slots.length === 0 || slots.includes(index));
}

/** The clock of the runner threads (process.hrtime) at zero of ours (performance.now). */
const CLOCK_ORIGIN_NS = clockOriginNs({ readNs: () => process.hrtime.bigint(), readMs: () => performance.now() });

/** From receiving a batch to its first run, in ms, without a run that failed before: that is retry. */
function waitMsOf(job: Job, { pieces, failedMs }: Execution): number {
  const [first] = pieces;
  if (first === undefined) return 0;
  const startedMs = Number(first.ran.startedNs - CLOCK_ORIGIN_NS) / 1e6;
  return Math.max(0, startedMs - job.receivedMs - failedMs);
}

/**
 * The answers of a batch. `batchRows` is 0 where the requests ran one by one, or none ran: no number fits all of them, and the
 * curve must learn nothing from it.
 */
function resultOf(
  job: Job,
  execution: Execution,
  given: { readonly worker: string; readonly granted: number },
): MessageOf<"RESULT"> {
  const { pieces, failedMs } = execution;
  const [first] = pieces;
  const computeMs = pieces.reduce((sum, { ran }) => sum + ran.computeMs, 0);
  const items = [...pieces.flatMap(({ prepared, ran }) => answersOf(job, prepared, ran.outputs)), ...refusalsOf(job)];
  const retryUs = Math.round(failedMs * 1000);
  return {
    command: "RESULT",
    batch: job.batch,
    worker: given.worker,
    batchRows: failedMs === 0 && first !== undefined ? first.prepared.assembled.rows : 0,
    batchWaitUs: Math.round(waitMsOf(job, execution) * 1000),
    computeUs: Math.round(computeMs * 1000),
    items: retryUs === 0 ? items : items.map((item) => ({ ...item, retryUs })),
    granted: given.granted,
  };
}

function isRan(end: RunEnd): end is Ran {
  return typeof end === "object";
}

async function sleepIf(ms: number | undefined): Promise<void> {
  if (ms !== undefined && ms > 0) await sleep(ms);
}

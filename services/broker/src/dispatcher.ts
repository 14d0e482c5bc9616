import {
  ERROR_CODES,
  type ErrorCode,
  JOB_FLAGS,
  LIMITS,
  type MessageOf,
  REQUEST_FLAGS,
  type RejectItem,
  type ResultItem,
  type SubmitItem,
} from "@millrace/protocol";
import { EdfQueue, isDue, planBatch, type Queued, TIMER_GRAIN_MS } from "@millrace/scheduling";
import type { GatewaySession } from "./gateway-session.ts";
import type { ModelBook } from "./model-book.ts";
import { type ModelVersion, RETRY_AFTER_DEFAULT_MS } from "./model-version.ts";
import type { BatchRun, BrokerObserver, RetryReason } from "./observer.ts";
import type { Outbox } from "./outbox.ts";
import { lateBy, startMs, viewOf } from "./policy-view.ts";
import { createRequest, heldBytesOf, type Request } from "./request.ts";
import { chooseLoneSlot, chooseSlot, mayHaveEnded } from "./slot-choice.ts";
import type { Batch, Slot, WorkerSession } from "./worker-session.ts";

export type DispatcherOptions = {
  /** Rows that may wait for one model version. */
  readonly queueRowsMax: number;
  /** Bytes of all requests that have not ended: their payloads and what else of them is passed on. */
  readonly queueBytesMax: number;
  /** For tests: keep every request in the queue for this long, in ms. */
  readonly testHoldMs: number;
  readonly observer: BrokerObserver;
};

/** Why a request is refused; without a better guess it may be tried again after a second. */
export type Refusal = { readonly code: ErrorCode; readonly text: string; readonly retryAfterMs?: number };

/** After this many failed attempts a request is given up: more would only spread what makes it fail. */
const FAILURES_MAX = 3;

/** A request that workers hand back untried goes round this often: more, and they never will try it. */
const ATTEMPTS_MAX = 16;

const UNREACHABLE = "the budget cannot be met under the present load";

/** Where requests of a model version wait. */
type Line = { readonly model: ModelVersion; readonly line: "backlog" | "suspects" };

/** A line in which something waits, with the deadline of its most urgent request. */
type Turn = Queued & Line;

/** Runs the life of every request in the broker: queued, batched, dispatched, redelivered, answered. Pure: no clock, no I/O. */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #observer: BrokerObserver;
  readonly #models: ModelBook;
  readonly #outbox: Outbox;
  /** The model versions that may have something waiting. */
  readonly #waiting = new Set<ModelVersion>();
  /** Workers that are kept free in this turn for suspects. */
  readonly #reserved = new Set<WorkerSession>();
  #closed: Refusal | undefined;
  #batches = 0;
  #open = 0;
  #heldBytes = 0;
  /** When the next decision is due; Infinity if only events can bring one. */
  wakeAtMs = Infinity;

  constructor(models: ModelBook, outbox: Outbox, options: DispatcherOptions) {
    this.#models = models;
    this.#outbox = outbox;
    this.#options = options;
    this.#observer = options.observer;
  }

  /** Requests that have not ended. */
  get open(): number {
    return this.#open;
  }

  /** Refuses every new request from now on. */
  close(why: Refusal): void {
    this.#closed = why;
  }

  submit(gateway: GatewaySession, item: SubmitItem, nowMs: number): void {
    // The number is open: its one answer is still to come.
    if (gateway.requests.has(item.request)) return;
    const model = this.#models.byRoute(item.route);
    const refusal = this.#closed ?? this.#refusalOf(model, item, nowMs);
    if (model === undefined || refusal !== undefined) {
      const why = refusal ?? UNKNOWN_ROUTE;
      this.#observer.refused(model, why.code, nowMs);
      return this.#outbox.reject(gateway, rejectItem({ item, queueMs: 0, retryMs: 0 }, why));
    }
    const request = createRequest({ gateway, model, item }, nowMs);
    gateway.requests.set(item.request, request);
    model.open++;
    this.#open++;
    this.#heldBytes += heldBytesOf(item);
    model.rate.record(item.rows, nowMs);
    this.#observer.submitted(request);
    this.#enqueue(request);
  }

  cancel(gateway: GatewaySession, number: number, nowMs: number): void {
    const request = gateway.requests.get(number);
    if (request !== undefined) this.#abandon(request, nowMs);
  }

  /** The gateway is gone: nobody waits for its requests any more. */
  gatewayLost(gateway: GatewaySession, nowMs: number): void {
    for (const request of gateway.requests.values()) this.#abandon(request, nowMs);
  }

  /** A worker's answers to one batch: learns from them and passes them on, one RESULT a gateway. */
  result(worker: WorkerSession, message: MessageOf<"RESULT">, nowMs: number): void {
    const batch = worker.findBatch(message.batch);
    if (batch === undefined) return;
    worker.retire(batch, nowMs);
    worker.grantSlot(batch.slot, message.granted);
    learn(batch, message, nowMs);
    const run = runOf(batch, message, nowMs);
    this.#observer.batchAnswered(run);
    const answers = new Map<GatewaySession, ResultItem[]>();
    for (const item of message.items) {
      const request = batch.requests[item.request];
      // Not of this batch, answered twice, or cancelled meanwhile.
      if (request?.state !== "dispatched") continue;
      this.#end(request);
      this.#observer.answered(request, run, item);
      const answer = answerItem(request, item);
      const list = answers.get(request.gateway);
      if (list === undefined) answers.set(request.gateway, [answer]);
      else list.push(answer);
    }
    const { batchRows, batchWaitUs, computeUs } = message;
    for (const [gateway, items] of answers) {
      const times = { batchRows, batchWaitUs, computeUs };
      this.#outbox.send(gateway, {
        command: "RESULT",
        batch: batch.id,
        worker: worker.instance,
        ...times,
        items,
        granted: 0,
      });
    }
    for (const request of batch.requests) {
      if (request.state === "dispatched")
        this.#reject(request, "internal", "the worker's answer left this request out");
    }
  }

  /** A worker hands a batch back: its requests wait again, unless they have failed too often. */
  nack(worker: WorkerSession, message: MessageOf<"NACK">, nowMs: number): void {
    const batch = worker.findBatch(message.batch);
    if (batch === undefined) return;
    worker.retire(batch, nowMs);
    for (const request of batch.requests) {
      if (request.state !== "dispatched") continue;
      if (message.started) request.failures++;
      if (request.failures >= FAILURES_MAX || request.attempts >= ATTEMPTS_MAX)
        this.#reject(request, "unavailable", `given up after ${request.attempts} attempts: ${message.text}`);
      else this.#requeue(request, "handed_back", nowMs);
    }
  }

  /**
   * The worker is lost. What it ran is redelivered one request at a time, since one of them may be what killed it; a request
   * that was alone at the worker is poison. What was only staged goes back as it was; but where the running batch may have
   * ended (its answer was lost with the worker), the staged one may have started, and both count as running.
   */
  workerLost(worker: WorkerSession, nowMs: number): void {
    for (const slot of worker.slots) {
      const [running, ...staged] = slot.batches;
      if (running === undefined) continue;
      const mayHaveStarted = mayHaveEnded(running, nowMs);
      this.#redeliver(running, true, nowMs);
      for (const batch of staged) this.#redeliver(batch, mayHaveStarted, nowMs);
    }
  }

  /** Ends what has run out of time, sends what can go now, and says in `wakeAtMs` when to ask again. */
  decide(nowMs: number): void {
    this.wakeAtMs = Infinity;
    this.#reserved.clear();
    const turns = new EdfQueue<Turn>();
    for (const model of this.#waiting) {
      const isWaiting = this.#lineUp({ model, line: "suspects" }, turns, nowMs);
      if (!this.#lineUp({ model, line: "backlog" }, turns, nowMs) && !isWaiting) this.#waiting.delete(model);
    }
    // Who got a batch lines up again with the next request; who got none has to wait for an event or the time.
    for (let turn = turns.pop(); turn !== undefined; turn = turns.pop()) {
      const { model, line } = turn;
      const isSent = line === "backlog" ? this.#sendBatch(model, nowMs) : this.#sendSuspect(model, nowMs);
      if (isSent) this.#lineUp({ model, line }, turns, nowMs);
    }
    this.#outbox.flush();
  }

  /** Ends the requests of a line whose budget has passed; false if nothing is left to wait for its turn. */
  #lineUp({ model, line }: Line, turns: EdfQueue<Turn>, nowMs: number): boolean {
    const queue = model[line];
    let { head } = queue;
    while (head !== undefined && head.deadlineMs <= nowMs) {
      queue.remove(head);
      head.queueMs += nowMs - head.sinceMs;
      this.#reject(head, "deadline_exceeded", "the budget passed in the broker's queue");
      ({ head } = queue);
    }
    if (head === undefined) return false;
    this.wakeAtMs = Math.min(this.wakeAtMs, head.deadlineMs);
    turns.push({ model, line, deadlineMs: head.deadlineMs, rows: 0, queueIndex: -1 });
    return true;
  }

  /** Sends one batch if a slot can take it now; else notes when one can. */
  #sendBatch(model: ModelVersion, nowMs: number): boolean {
    const { head, headRows } = model.backlog;
    const choice = head === undefined ? undefined : chooseSlot(head, this.#reserved, nowMs);
    if (head === undefined || choice === undefined) return false;
    const { worker, batches } = choice.slot;
    const rowsMax = worker.models.get(model)!.model.maxBatchSize;
    const { testHoldMs } = this.#options;
    const atMs = testHoldMs > 0 ? Math.max(choice.sendAtMs, head.sinceMs + testHoldMs) : choice.sendAtMs;
    if (!isDue({ atMs, rows: headRows, rowsMax }, batches[0], nowMs)) {
      this.wakeAtMs = Math.min(this.wakeAtMs, atMs);
      return false;
    }
    const plan = planBatch(viewOf(head, choice.slot, nowMs));
    if (plan.action === "shed") {
      model.backlog.remove(head);
      this.#shed(head, nowMs);
      return true;
    }
    // A hold that a timer would end too late is none.
    if (plan.action === "hold" && plan.untilMs - nowMs >= TIMER_GRAIN_MS) {
      this.wakeAtMs = Math.min(this.wakeAtMs, plan.untilMs);
      return false;
    }
    const bytesMax = worker.bytesMax - worker.bytesOut;
    const limits = { rowsMax: plan.action === "send" ? plan.rows : rowsMax, itemsMax: LIMITS.items, bytesMax };
    const batch = this.#dispatch(model.backlog.take(limits), choice.slot, nowMs);
    this.#observer.batchSent(batch, plan.action === "send" ? plan.reason : "paced");
    return true;
  }

  #shed(request: Request, nowMs: number): void {
    request.queueMs += nowMs - request.sinceMs;
    this.#end(request);
    this.#observer.rejected(request, "shed");
    const retryAfterMs = request.model.drainTimeMs();
    this.#outbox.reject(request.gateway, rejectItem(request, { code: "shed", text: UNREACHABLE, retryAfterMs }));
  }

  #sendSuspect(model: ModelVersion, nowMs: number): boolean {
    const slot = chooseLoneSlot(model, this.#reserved);
    const suspect = slot === undefined ? undefined : model.suspects.pop();
    if (slot === undefined || suspect === undefined) return false;
    this.#observer.batchSent(this.#dispatch([suspect], slot, nowMs), "idle");
    return true;
  }

  #dispatch(requests: readonly Request[], slot: Slot, nowMs: number): Batch {
    const batch = formBatch({ id: ++this.#batches, slot, requests }, nowMs);
    for (const request of requests) {
      request.queueMs += nowMs - request.sinceMs;
      request.sinceMs = nowMs;
      request.state = "dispatched";
      request.batch = batch;
      request.attempts++;
    }
    slot.worker.take(batch);
    batch.model.lastDispatchMs = nowMs;
    this.#outbox.send(slot.worker, jobMessage(batch));
    return batch;
  }

  #redeliver(batch: Batch, mayHaveRun: boolean, nowMs: number): void {
    batch.slot.worker.retire(batch, nowMs);
    for (const request of batch.requests) {
      if (request.state !== "dispatched") continue;
      if (mayHaveRun) {
        request.failures++;
        if (request.alone) {
          this.#reject(request, "poison", "two workers were lost while they ran this request");
          continue;
        }
        if ((request.item.flags & REQUEST_FLAGS.noRetry) !== 0) {
          this.#reject(request, "worker_lost", "the worker was lost, and the request may not run twice");
          continue;
        }
        request.alone = true;
      }
      this.#requeue(request, "worker_lost", nowMs);
    }
  }

  #enqueue(request: Request): void {
    request.model[lineOf(request)].push(request);
    this.#waiting.add(request.model);
  }

  #requeue(request: Request, reason: RetryReason, nowMs: number): void {
    this.#observer.retried(request.model, reason);
    request.retryMs += nowMs - request.sinceMs;
    request.sinceMs = nowMs;
    request.state = "queued";
    request.batch = undefined;
    this.#enqueue(request);
  }

  /** Nobody wants the answer any more: it leaves the queue, or its worker is told. */
  #abandon(request: Request, nowMs: number): void {
    const { batch } = request;
    if (batch === undefined) request.model[lineOf(request)].remove(request);
    else this.#outbox.cancel(batch.slot.worker, { batch: batch.id, request: batch.requests.indexOf(request) });
    this.#end(request);
    this.#observer.cancelled(request, nowMs);
  }

  #reject(request: Request, code: ErrorCode, text: string): void {
    this.#end(request);
    this.#observer.rejected(request, code);
    this.#outbox.reject(request.gateway, rejectItem(request, { code, text }));
  }

  #end(request: Request): void {
    request.state = "ended";
    request.batch = undefined;
    request.gateway.requests.delete(request.item.request);
    request.model.open--;
    this.#open--;
    this.#heldBytes -= heldBytesOf(request.item);
  }

  /** Why a request cannot be taken, or undefined. */
  #refusalOf(model: ModelVersion | undefined, item: SubmitItem, nowMs: number): Refusal | undefined {
    if (model === undefined) return UNKNOWN_ROUTE;
    if (model.workers.size === 0) return { code: "unavailable", text: "no worker serves the model" };
    const { maxBatchSize } = model.description;
    if (item.rows < 1 || item.rows > maxBatchSize)
      return { code: "too_many_rows", text: `rows must be 1 to ${maxBatchSize}` };
    const { queueRowsMax, queueBytesMax } = this.#options;
    const isFull = model.queuedRows + item.rows > queueRowsMax || this.#heldBytes + heldBytesOf(item) > queueBytesMax;
    if (isFull) return { code: "queue_full", text: "the broker's queue is full", retryAfterMs: model.drainTimeMs() };
    const lateByMs = lateBy(model, item, nowMs);
    return lateByMs > 0 ? { code: "shed", text: UNREACHABLE, retryAfterMs: Math.ceil(lateByMs) } : undefined;
  }
}

const UNKNOWN_ROUTE: Refusal = { code: "model_not_found", text: "the broker knows no such route" };

function runOf(batch: Batch, message: MessageOf<"RESULT">, nowMs: number): BatchRun {
  return {
    batch,
    batchWaitMs: message.batchWaitUs / 1000,
    computeMs: message.computeUs / 1000,
    roundTripMs: nowMs - batch.dispatchedMs,
  };
}

function formBatch(plan: { id: number; slot: Slot; requests: readonly Request[] }, nowMs: number): Batch {
  const { slot, requests } = plan;
  const { model, bucket, alone: isIsolated } = requests[0]!;
  let rows = 0;
  let bytes = 0;
  for (const request of requests) {
    rows += request.rows;
    bytes += request.bytes;
  }
  const curve = model.curve(bucket, slot.worker.models.get(model)?.fingerprint ?? "");
  const predictedMs = curve.predict(rows)?.q50Ms ?? Infinity;
  const predicted = { predictedMs, predictedEndMs: startMs(slot, nowMs) + predictedMs };
  const sent = { dispatchedMs: nowMs, toIdleSlot: slot.batches.length === 0 };
  return { ...plan, model, bucket, curve, rows, bytes, isIsolated, ...predicted, ...sent };
}

/** What a batch teaches: only one that ran as it was sent, and in a time that can be. */
function learn(batch: Batch, message: MessageOf<"RESULT">, nowMs: number): void {
  const computeMs = message.computeUs / 1000;
  const restMs = nowMs - batch.dispatchedMs - computeMs;
  if (message.batchRows !== batch.rows || restMs < 0) return;
  batch.curve.record(batch.rows, computeMs);
  batch.model.ran(batch, computeMs);
  batch.slot.worker.ran(batch, computeMs);
  if (batch.toIdleSlot) batch.slot.worker.handOver.record(restMs);
}

function lineOf(request: Request): Line["line"] {
  return request.alone ? "suspects" : "backlog";
}

function jobMessage(batch: Batch): MessageOf<"JOB"> {
  return {
    command: "JOB",
    batch: batch.id,
    slot: batch.slot.index,
    model: batch.slot.worker.models.get(batch.model)!.index,
    bucket: batch.bucket,
    flags: batch.isIsolated ? JOB_FLAGS.isolate : 0,
    items: batch.requests.map(({ gateway, item, rows, deadlineMs }) => ({
      origin: gateway.origin,
      request: item.request,
      attempt: item.attempt,
      budgetUs: micros(deadlineMs - batch.dispatchedMs),
      rows,
      payload: item.payload,
      tensors: item.tensors,
      trace: item.trace,
    })),
  };
}

/** A worker's answer, with the gateway's numbers and the broker's times; what the worker lost to failed runs counts as retry too. */
function answerItem(request: Request, item: ResultItem): ResultItem {
  const { request: number, attempt } = request.item;
  const retryUs = Math.min(Number.MAX_SAFE_INTEGER, micros(request.retryMs) + item.retryUs);
  const times = { brokerQueueUs: micros(request.queueMs), retryUs };
  return { ...item, request: number, attempt, ...times };
}

function rejectItem(request: Pick<Request, "item" | "queueMs" | "retryMs">, why: Refusal): RejectItem {
  return {
    request: request.item.request,
    attempt: request.item.attempt,
    code: ERROR_CODES[why.code].number,
    retryAfterMs: why.retryAfterMs ?? RETRY_AFTER_DEFAULT_MS,
    brokerQueueUs: micros(request.queueMs),
    retryUs: micros(request.retryMs),
    text: why.text,
  };
}

/** Whole microseconds, rounded down: a budget never grows. */
function micros(ms: number): number {
  return Math.floor(ms * 1000);
}

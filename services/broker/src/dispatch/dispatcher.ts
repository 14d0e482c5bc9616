import {
  type ErrorCode,
  LIMITS,
  type MessageOf,
  rowsOfRun,
  type ResultItem,
  type SubmitItem,
} from "@millrace/protocol";
import { EdfQueue, isDue, planBatch, TIMER_GRAIN_MS } from "@millrace/scheduling";
import { Admission, type AdmissionOptions, type DisplacementReason, shedding, UNKNOWN_ROUTE } from "./admission.ts";
import { callOff, cancelRun, foundBegun, isRecalledFrom } from "./call-off.ts";
import { formBatch, isOf, leaveToOther, learn, noteLateness, runOf } from "./batch-run.ts";
import {
  explainHedge,
  explainHeld,
  explainRefused,
  explainSent,
  explainSpare,
  explainSuspect,
} from "../decisions/explanation.ts";
import type { GatewaySession } from "../sessions/gateway-session.ts";
import { Hedging } from "./hedging.ts";
import type { ModelBook } from "../models/model-book.ts";
import type { ModelVersion } from "../models/model-version.ts";
import type { BrokerObserver, RetryReason } from "../metrics/observer.ts";
import type { Outbox } from "../sessions/outbox.ts";
import { viewOf } from "./policy-view.ts";
import { accuse, type GivenUp, type Loss, lostInRun, triedTooOften } from "./loss.ts";
import { type Line, lineOf, type Turn, waitingWith } from "./line.ts";
import { Recall, takeBack } from "./recall.ts";
import { createRequest, type Request, tighten } from "./request.ts";
import { givenUpBefore, lookAtWhatIsLeft } from "./standing-queue.ts";
import { answerItem, answerMessage, jobMessage, rejectItem } from "../sessions/request-messages.ts";
import { yieldingTo } from "./room-in-batch.ts";
import { chooseLoneSlot, chooseSlot, freesInTime, mayHaveEnded } from "./slot-choice.ts";
import { spareSlot } from "./spare-slot.ts";
import { chargeFor, markFurthest, moveFurthest, settleFor, turnKey } from "./turn-order.ts";
import { areUneven } from "../models/worker-speed.ts";
import type { Batch, Slot, WorkerSession } from "../sessions/worker-session.ts";

export type DispatcherOptions = AdmissionOptions & {
  /** For tests: keep every request in the queue for this long, in ms. */
  readonly testHoldMs: number;
  /** Late batches that may run a second time elsewhere, per 100 batches; 0: none. */
  readonly hedgePercent?: number;
  readonly observer: BrokerObserver;
  /** Hears of what people should know of. */
  readonly onLoss: (loss: Loss) => void;
};

/** After this many failed attempts a request is given up: more would only spread what makes it fail. */
const FAILURES_MAX = 3;

/** A request that workers hand back untried goes round this often: more, and they never will try it. */
const ATTEMPTS_MAX = 16;

const OVERLOADED = "overloaded: the newest requests are answered first, and this one has waited too long";

/** Runs the life of every request in the broker: queued, batched, dispatched, redelivered, answered. Pure: no clock, no I/O. */
export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #observer: BrokerObserver;
  readonly #models: ModelBook;
  readonly #outbox: Outbox;
  readonly #admission: Admission;
  /** The model versions that may have something waiting. */
  readonly #waiting = new Set<ModelVersion>();
  /** What is kept free in this turn. */
  readonly #reserved = { workers: new Set<WorkerSession>(), turn: 0 };
  readonly #hedging: Hedging;
  readonly #recall = new Recall();
  #batches = 0;
  /** Whether several models wait, so that they take turns. */
  #isShared = false;
  /** When the next decision is due; Infinity if only events can bring one. */
  wakeAtMs = Infinity;

  constructor(models: ModelBook, outbox: Outbox, options: DispatcherOptions) {
    this.#models = models;
    this.#outbox = outbox;
    this.#options = options;
    this.#admission = new Admission(options);
    this.#observer = options.observer;
    this.#hedging = new Hedging(options.hedgePercent ?? 0);
  }

  /** Requests that have not ended. */
  get open(): number {
    return this.#admission.open;
  }

  /** Refuses every new request from now on. */
  close(text: string): void {
    this.#admission.close(text);
  }

  submit(gateway: GatewaySession, item: SubmitItem, nowMs: number): void {
    // The number is open: its one answer is still to come.
    if (gateway.requests.has(item.request)) return;
    const model = this.#models.byRoute(item.route);
    const verdict = this.#admission.judge(model, item, nowMs);
    if (verdict !== undefined && "victims" in verdict) {
      for (const victim of verdict.victims) this.#displace(victim, verdict.why, nowMs);
    } else if (model === undefined || verdict !== undefined) {
      const why = verdict ?? UNKNOWN_ROUTE;
      this.#observer.refused(model, why.code, nowMs);
      if (model !== undefined) explainRefused(model, why, nowMs);
      model?.totals.refused();
      return this.#outbox.reject(gateway, rejectItem({ item, queueMs: 0, retryMs: 0 }, why));
    }
    const looseForMs = this.#admission.looseFor(model!, item);
    const request = createRequest({ gateway, model: model!, item, looseForMs }, nowMs);
    gateway.requests.set(item.request, request);
    model!.open++;
    this.#admission.took(item);
    model!.rate.record(item.rows, nowMs);
    const shares = model!.tenants[request.classIndex]!;
    shares.charge(shares.find(item.tenant), request);
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
    this.#retire(batch, nowMs);
    worker.grantSlot(batch.slot, message.granted);
    learn(batch, message, nowMs);
    noteLateness(batch, nowMs);
    const run = runOf(batch, message, nowMs);
    batch.model.decisions.ended(batch.decision, batch.isRecalled ? "taken_back" : "answered", run);
    // Whatever a worker says: no run takes longer than it was away.
    settleFor(batch, Math.min(run.computeMs, run.roundTripMs));
    this.#observer.batchAnswered(run);
    batch.model.totals.ran(nowMs);
    const answers = new Map<GatewaySession, ResultItem[]>();
    for (const item of message.items) {
      const request = batch.requests[item.request];
      // Not of this batch, answered twice or elsewhere, or cancelled meanwhile.
      if (
        request === undefined ||
        !(isOf(batch, request) || (item.code === 0 && foundBegun(batch, request, this.#outbox)))
      )
        continue;
      // Where a second run goes on, a failure is left to that one.
      if (item.code !== 0 && leaveToOther(batch, request)) continue;
      if (callOff(request, batch, this.#outbox)) this.#observer.hedged(request.model, "won");
      this.#end(request);
      this.#observer.answered(request, run, item);
      request.model.totals.answered(request, run, item.code);
      const answer = answerItem(request, item);
      const list = answers.get(request.gateway);
      if (list === undefined) answers.set(request.gateway, [answer]);
      else list.push(answer);
    }
    for (const [gateway, items] of answers) this.#outbox.send(gateway, answerMessage(batch, message, items));
    for (const request of batch.requests) {
      if (isOf(batch, request) && !leaveToOther(batch, request))
        this.#giveUp(request, batch, { code: "internal", text: "the worker's answer left this request out" });
    }
  }

  /** A worker hands a batch back: its requests wait again, unless they have failed too often. */
  nack(worker: WorkerSession, message: MessageOf<"NACK">, nowMs: number): void {
    const batch = worker.findBatch(message.batch);
    if (batch === undefined) return;
    this.#retire(batch, nowMs);
    batch.model.decisions.ended(batch.decision, "handed_back");
    for (const request of batch.requests) {
      if (!isOf(batch, request)) continue;
      if (message.started) request.failures++;
      if (leaveToOther(batch, request)) continue;
      if (request.failures >= FAILURES_MAX || request.attempts >= ATTEMPTS_MAX)
        this.#giveUp(request, batch, triedTooOften(request, message.text));
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
    for (const batch of this.#recall.due(nowMs))
      for (const request of takeBack(batch, this.#outbox, nowMs)) this.#requeue(request, "taken_back", nowMs);
    this.wakeAtMs = Infinity;
    this.#reserved.workers.clear();
    this.#reserved.turn++;
    this.#isShared = this.#waiting.size > 1;
    if (this.#isShared) markFurthest(this.#waiting);
    const turns = new EdfQueue<Turn>();
    for (const model of this.#waiting) {
      const isWaiting = this.#lineUp({ model, line: "suspects" }, turns, nowMs);
      if (this.#lineUp({ model, line: "backlog" }, turns, nowMs)) continue;
      lookAtWhatIsLeft(model, nowMs);
      if (!isWaiting) this.#waiting.delete(model);
    }
    // Who got a batch lines up again with the next request; who got none has to wait for an event or the time.
    for (let turn = turns.pop(); turn !== undefined; turn = turns.pop()) {
      const { model, line } = turn;
      const isSent = line === "backlog" ? this.#sendBatch(model, nowMs) : this.#sendSuspect(model, nowMs);
      if (isSent) this.#lineUp({ model, line }, turns, nowMs);
    }
    if (this.#hedging.isOn) this.#hedge(nowMs);
    this.wakeAtMs = Math.min(this.wakeAtMs, this.#recall.wakeAtMs);
    this.#outbox.flush();
  }

  /** Sends what may run a second time, after all that waits for its first run. */
  #hedge(nowMs: number): void {
    for (;;) {
      const plan = this.#hedging.next(this.#models, nowMs);
      if (plan === undefined) break;
      const { slot, requests } = plan;
      const hedge = formBatch({ id: ++this.#batches, slot, requests, hedgeOf: requests[0]!.batch! }, nowMs);
      for (const request of requests) request.hedge = hedge;
      this.#send(hedge);
      explainHedge(hedge);
      this.#observer.hedged(hedge.model, "sent");
    }
    this.wakeAtMs = Math.min(this.wakeAtMs, this.#hedging.lateAtMs(nowMs));
  }

  /** Ends the requests of a line whose budget has passed; false if nothing is left to wait for its turn. */
  #lineUp({ model, line }: Line, turns: EdfQueue<Turn>, nowMs: number): boolean {
    const queue = model[line];
    let { earliest } = queue;
    for (; earliest !== undefined && earliest.deadlineMs <= nowMs; { earliest } = queue) {
      queue.remove(earliest);
      if (earliest.isLoose) {
        tighten(earliest);
        queue.push(earliest);
        continue;
      }
      earliest.queueMs += nowMs - earliest.sinceMs;
      model.decisions.slackWas(model.decisions.turnedAway("expired", "in_queue", nowMs), earliest.deadlineMs - nowMs);
      this.#reject(earliest, "deadline_exceeded", "the budget passed in the broker's queue");
    }
    if (earliest === undefined) return false;
    this.wakeAtMs = Math.min(this.wakeAtMs, earliest.deadlineMs);
    const head = queue.head!;
    const key = this.#isShared ? turnKey(model, head) : head.deadlineMs;
    turns.push({ model, line, deadlineMs: key, rows: 0, queueIndex: -1 });
    return true;
  }

  /** Sends one batch if a slot can take it now; else notes when one can. */
  #sendBatch(model: ModelVersion, nowMs: number): boolean {
    const { head, headRows, fillRows } = model.backlog;
    const choice = head === undefined ? undefined : chooseSlot(head, this.#reserved, nowMs);
    if (head === undefined || choice === undefined) return false;
    const { worker, batches } = choice.slot;
    const rowsMax = rowsOfRun(worker.models.get(model)!.model, head.item);
    const { testHoldMs } = this.#options;
    const atMs = testHoldMs > 0 ? Math.max(choice.sendAtMs, head.sinceMs + testHoldMs) : choice.sendAtMs;
    if (!isDue({ atMs, rows: headRows + fillRows, rowsMax }, batches[0], nowMs)) {
      if (areUneven(model) && testHoldMs === 0 && this.#sendSpare(head, nowMs)) return true;
      this.wakeAtMs = Math.min(this.wakeAtMs, atMs);
      // Else a model behind this one in the order of turns, whose batch may leave a moment earlier, would take its place.
      choice.slot.promisedIn = this.#reserved.turn;
      return false;
    }
    const stale = givenUpBefore(head, nowMs);
    if (stale !== undefined) {
      for (const request of stale) this.#displace(request, "codel", nowMs);
      return true;
    }
    const view = viewOf(head, choice.slot, nowMs);
    const plan = planBatch(view);
    if (plan.action === "shed" && freesInTime(head, choice.slot, nowMs)) return false;
    if (plan.action === "shed") {
      model.backlog.remove(head);
      model.decisions.slackWas(model.decisions.turnedAway("shed", plan.why, nowMs), plan.slackMs);
      this.#shed(head, nowMs);
      return true;
    }
    // A hold that a timer would end too late is none, nor one for more requests than a message carries; and a turn before more
    // urgent classes is not for waiting.
    const mayHold = plan.action === "hold" && plan.untilMs - nowMs >= TIMER_GRAIN_MS && model.backlog.isHeadTop;
    if (mayHold && waitingWith(head) < LIMITS.items) {
      this.wakeAtMs = Math.min(this.wakeAtMs, plan.untilMs);
      explainHeld(model, plan, view);
      return false;
    }
    const bytesMax = worker.bytesMax - worker.bytesOut;
    const rows = plan.action === "send" ? plan.rows : Math.min(rowsMax, view.waitingRows + view.fillRows);
    const yielding = yieldingTo(head, { rows, view, keptRows: Math.floor(plan.sustainableRows) });
    if (yielding !== undefined) {
      for (const request of yielding) this.#displace(request, "over_share", nowMs);
      return true;
    }
    // What fills it up must be in time with it.
    const dueMs = view.fillRows === 0 ? -Infinity : view.startMs + (view.predict(rows)?.q95Ms ?? 0) + view.marginMs;
    const limits = { rowsMax: rows, itemsMax: LIMITS.items, bytesMax, dueMs };
    const batch = this.#dispatch(model.backlog.take(limits), choice.slot, nowMs);
    lookAtWhatIsLeft(model, nowMs);
    explainSent(batch, plan, view);
    this.#observer.batchSent(batch, plan.action === "send" ? plan.reason : "paced");
    return true;
  }

  /** What waits for a slot that is not free yet may keep an idle slower one busy meanwhile. */
  #sendSpare(head: Request, nowMs: number): boolean {
    const spare = spareSlot(head, this.#reserved, nowMs);
    if (spare === undefined) return false;
    const { model } = head;
    const { lastDispatchMs, backlog } = model;
    const { headRows } = backlog;
    backlog.takeThese(spare.requests);
    const batch = this.#dispatch(spare.requests, spare.slot, nowMs);
    // The turns of the others go on as if it had not left.
    model.lastDispatchMs = lastDispatchMs;
    lookAtWhatIsLeft(model, nowMs);
    explainSpare(batch, headRows);
    this.#observer.batchSent(batch, "idle");
    return true;
  }

  #shed(request: Request, nowMs: number, text?: string): void {
    request.queueMs += nowMs - request.sinceMs;
    this.#end(request);
    this.#observer.rejected(request, "shed");
    request.model.totals.failed(request);
    this.#outbox.reject(request.gateway, rejectItem(request, shedding(request.model, text)));
  }

  /** A request that waits gives its place to a new one, or has waited for long enough in a queue that stands. */
  #displace(request: Request, why: DisplacementReason | "codel", nowMs: number): void {
    const { backlog, decisions } = request.model;
    backlog.remove(request);
    decisions.turnedAway("shed", why, nowMs);
    if (why === "codel") this.#observer.sloughed(request);
    this.#shed(request, nowMs, why === "codel" ? OVERLOADED : undefined);
  }

  #sendSuspect(model: ModelVersion, nowMs: number): boolean {
    const slot = chooseLoneSlot(model, this.#reserved.workers);
    const suspect = slot === undefined ? undefined : model.suspects.pop();
    if (slot === undefined || suspect === undefined) return false;
    const batch = this.#dispatch([suspect], slot, nowMs);
    explainSuspect(batch);
    this.#observer.batchSent(batch, "idle");
    return true;
  }

  #dispatch(requests: readonly Request[], slot: Slot, nowMs: number): Batch {
    const batch = formBatch({ id: ++this.#batches, slot, requests }, nowMs);
    for (const request of requests) {
      request.queueMs += nowMs - request.sinceMs;
      request.sinceMs = nowMs;
      request.state = "dispatched";
      request.model.tenants[request.classIndex]!.leaves(request);
      request.batch = batch;
      request.attempts++;
    }
    batch.model.lastDispatchMs = nowMs;
    this.#send(batch);
    return batch;
  }

  #send(batch: Batch): void {
    const { model, slot } = batch;
    slot.worker.take(batch);
    this.#hedging.sent(batch);
    this.#recall.sent(batch);
    chargeFor(batch);
    if (this.#isShared) moveFurthest(model);
    this.#outbox.send(slot.worker, jobMessage(batch));
  }

  #retire(batch: Batch, nowMs: number): void {
    batch.slot.worker.retire(batch, nowMs);
    this.#hedging.gone(batch, nowMs);
    this.#recall.gone(batch);
  }

  #redeliver(batch: Batch, mayHaveRun: boolean, nowMs: number): void {
    this.#retire(batch, nowMs);
    batch.model.decisions.ended(batch.decision, "lost");
    const again: Request[] = [];
    for (const request of batch.requests) {
      if (mayHaveRun && isRecalledFrom(batch, request)) accuse(request);
      if (!isOf(batch, request)) continue;
      const why = mayHaveRun ? lostInRun(request, batch) : undefined;
      if (why !== undefined) {
        this.#giveUp(request, batch, why);
        continue;
      }
      if (leaveToOther(batch, request)) continue;
      this.#requeue(request, "worker_lost", nowMs);
      again.push(request);
    }
    if (again.length > 0) this.#options.onLoss({ batch, requests: again });
  }

  #giveUp(request: Request, batch: Batch, { code, text }: GivenUp): void {
    this.#options.onLoss({ batch, requests: [request], code });
    this.#reject(request, code, text);
  }

  #enqueue(request: Request): void {
    request.model[lineOf(request)].push(request);
    if (this.#waiting.has(request.model)) return;
    this.#waiting.add(request.model);
    request.model.fairShare.wakes();
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
    else {
      cancelRun(request, batch, this.#outbox);
      cancelRun(request, request.hedge, this.#outbox);
    }
    this.#end(request);
    this.#observer.cancelled(request, nowMs);
    request.model.totals.failed(request);
  }

  #reject(request: Request, code: ErrorCode, text: string): void {
    this.#end(request);
    this.#observer.rejected(request, code);
    request.model.totals.failed(request);
    this.#outbox.reject(request.gateway, rejectItem(request, { code, text }));
  }

  #end(request: Request): void {
    request.state = "ended";
    request.batch = undefined;
    request.hedge = undefined;
    request.gateway.requests.delete(request.item.request);
    request.model.open--;
    request.model.tenants[request.classIndex]!.refund(request);
    this.#admission.ended(request.item);
  }
}

import {
  decodeTensorList,
  encodeTensorList,
  encodeTrace,
  type ErrorCode,
  errorCodeOf,
  isWellSized,
  LIMITS,
  type MessageOf,
  type RejectItem,
  RequestTable,
  type SubmitItem,
  type Tensor,
} from "@millrace/protocol";
import { brokerWaitMs } from "./broker-wait.ts";
import { DeadlineWheel } from "./deadline-wheel.ts";
import type { InferenceAnswer, InferenceRequest, StageDurations } from "./inference.ts";
import type { RouteTable } from "./model-table.ts";
import { RETRY_AFTER_MS, type RetryBudget } from "./retry-budget.ts";

/**
 * - `unsent`: waits to be handed to the broker: for the end of the turn, or for a broker to come back.
 * - `sent`: the broker has it, as far as we know. Back to `unsent` when the session is lost or the broker hands it back.
 * - `ended`: answered or forgotten; final. What still arrives for it is dropped.
 */
export type PendingState = "unsent" | "sent" | "ended";

/** A request from the moment the gateway accepts it until its one answer; its payload is kept until then. */
export type Pending = {
  readonly number: number;
  readonly request: InferenceRequest;
  readonly onAnswer: (answer: InferenceAnswer) => void;
  readonly deadlineMs: number;
  state: PendingState;
  /** Who has it while it is `sent`. */
  broker: string;
  attempt: number;
  /** Since when it is in the present state. */
  sinceMs: number;
  /** Time unsent, over all attempts. */
  queueMs: number;
  /** Time in attempts that were lost. */
  retryMs: number;
  wheelIndex: number;
};

/** Requests that a broker has and need not answer any more. */
export type Cancellation = { readonly broker: string; readonly message: MessageOf<"CANCEL"> };

/** One answer to give: the shell calls `pending.onAnswer(answer)`. */
export type Ending = { readonly pending: Pending; readonly answer: InferenceAnswer };

/** A SUBMIT is closed at this many payload bytes, so that a turn's first requests do not wait for its last. */
const SUBMIT_BYTES = 256 * 1024;

/** Every request of this gateway that has no answer yet. Pure: decides what to send and what to answer, and does neither. */
export class PendingTable {
  readonly #routes: RouteTable;
  readonly #retries: RetryBudget;
  readonly #byNumber = new RequestTable<Pending>();
  readonly #deadlines = new DeadlineWheel<Pending>();
  #unsent: Pending[] = [];
  /** How many of these have ended since, at most. */
  #endedUnsent = 0;
  #numbers = 0;
  #rows = 0;

  /** `retries`: bounds what is sent again. */
  constructor(routes: RouteTable, retries: RetryBudget) {
    this.#routes = routes;
    this.#retries = retries;
  }

  get size(): number {
    return this.#byNumber.size;
  }

  /** Rows of all of them. */
  get rows(): number {
    return this.#rows;
  }

  get hasUnsent(): boolean {
    return this.#unsent.length > 0;
  }

  add(request: InferenceRequest, onAnswer: (answer: InferenceAnswer) => void, nowMs: number): Pending {
    const pending: Pending = {
      number: ++this.#numbers,
      request,
      onAnswer,
      deadlineMs: nowMs + request.budgetMs,
      state: "unsent",
      broker: "",
      attempt: 0,
      sinceMs: nowMs,
      queueMs: 0,
      retryMs: 0,
      wheelIndex: -1,
    };
    this.#retries.count(nowMs);
    this.#byNumber.set(pending.number, pending);
    this.#rows += request.rows;
    this.#deadlines.add(pending);
    this.#unsent.push(pending);
    return pending;
  }

  /** Forgets a request; the CANCEL to send if the broker has it. */
  cancel(number: number): Cancellation | undefined {
    const pending = this.#byNumber.get(number);
    if (pending === undefined) return undefined;
    const wasSent = pending.state === "sent";
    this.#end(pending);
    if (!wasSent) return undefined;
    return { broker: pending.broker, message: { command: "CANCEL", items: [{ batch: 0, request: number }] } };
  }

  /** What is to be handed over to this broker now, in SUBMITs within the limits, and the requests that cannot be. */
  flush(broker: string, nowMs: number): { readonly submits: MessageOf<"SUBMIT">[]; readonly endings: Ending[] } {
    const submits: MessageOf<"SUBMIT">[] = [];
    const endings: Ending[] = [];
    let items: SubmitItem[] = [];
    let bytes = 0;
    const unsent = this.#unsent;
    this.#unsent = [];
    this.#endedUnsent = 0;
    for (const pending of unsent) {
      if (pending.state !== "unsent") continue;
      if (pending.deadlineMs <= nowMs) {
        endings.push(this.#expire(pending));
        continue;
      }
      const destination = this.#routes.destinationOf(pending.request.model);
      if (destination === "later") {
        this.#unsent.push(pending);
        continue;
      }
      if (destination === undefined) {
        endings.push(this.#refuse(pending, "unavailable", { message: "the broker does not know the model any more" }));
        continue;
      }
      pending.queueMs += nowMs - pending.sinceMs;
      pending.sinceMs = nowMs;
      const item = submitItem(pending, destination, nowMs);
      // The broker would refuse the whole message, and with it the session: one request must not cost the others theirs.
      if (item.tensors.byteLength > LIMITS.tensorsBytes) {
        endings.push(this.#refuse(pending, "unsupported", { message: "its tensors' names do not fit one message" }));
        continue;
      }
      pending.state = "sent";
      pending.broker = broker;
      items.push(item);
      bytes += pending.request.payload.byteLength;
      if (items.length >= LIMITS.items || bytes >= SUBMIT_BYTES) {
        submits.push({ command: "SUBMIT", items });
        items = [];
        bytes = 0;
      }
    }
    if (items.length > 0) submits.push({ command: "SUBMIT", items });
    return { submits, endings };
  }

  result(message: MessageOf<"RESULT">, nowMs: number): Ending[] {
    const endings: Ending[] = [];
    for (const item of message.items) {
      const pending = this.#sentAs(item);
      if (pending === undefined) continue;
      const brokerQueueMs = item.brokerQueueUs / 1000;
      const batchWaitMs = message.batchWaitUs / 1000;
      const computeMs = message.computeUs / 1000;
      const retryMs = item.retryUs / 1000;
      const stages: StageDurations = {
        gatewayQueueMs: pending.queueMs,
        brokerQueueMs,
        batchWaitMs,
        computeMs,
        retryMs: pending.retryMs + retryMs,
        // Each part was measured on its own clock: their sum may exceed the whole by rounding.
        networkMs: Math.max(0, nowMs - pending.sinceMs - brokerQueueMs - batchWaitMs - computeMs - retryMs),
      };
      if (item.code !== 0) {
        const { text: message, retryAfterMs } = item;
        endings.push(this.#refuse(pending, errorCodeOf(item.code), { message, retryAfterMs, stages }));
        continue;
      }
      const outputs = cutTensors(item.tensors, item.payload);
      if (outputs === undefined) {
        endings.push(
          this.#refuse(pending, "internal", { message: "the worker's answer does not fit its payload", stages }),
        );
        continue;
      }
      this.#end(pending);
      const { rows } = pending.request;
      // 0: the requests of the batch ran one by one.
      const batchRows = message.batchRows || rows;
      endings.push({ pending, answer: { ok: true, outputs, rows, batchRows, worker: message.worker, stages } });
    }
    return endings;
  }

  /** Refusals of the broker. One that is shutting down hands its requests back: they wait for the next. */
  reject(items: readonly RejectItem[], nowMs: number): Ending[] {
    const endings: Ending[] = [];
    for (const item of items) {
      const pending = this.#sentAs(item);
      if (pending === undefined) continue;
      const code = errorCodeOf(item.code);
      if (code === "draining") {
        const ending = this.#takeBack(pending, nowMs);
        if (ending !== undefined) endings.push(ending);
        continue;
      }
      const brokerQueueMs = item.brokerQueueUs / 1000;
      const retryMs = item.retryUs / 1000;
      const stages = {
        ...noStages(pending),
        brokerQueueMs,
        retryMs: pending.retryMs + retryMs,
        networkMs: Math.max(0, nowMs - pending.sinceMs - brokerQueueMs - retryMs),
      };
      endings.push(this.#refuse(pending, code, { message: item.text, retryAfterMs: item.retryAfterMs, stages }));
    }
    return endings;
  }

  /** The session with a broker is lost: what was sent to it may be lost too, and is sent again, as the next attempt, within the budget. */
  sessionLost(broker: string, nowMs: number): Ending[] {
    const endings: Ending[] = [];
    // The oldest first, which have waited for longest: the table has no order.
    const lost = [...this.#byNumber.values()]
      .filter((pending) => pending.state === "sent" && pending.broker === broker)
      .toSorted((a, b) => a.number - b.number);
    for (const pending of lost) {
      const ending = this.#takeBack(pending, nowMs);
      if (ending !== undefined) endings.push(ending);
    }
    return endings;
  }

  /** Gives up on what has waited for a broker long enough, when there has been none for `outageMs`. O(unsent). */
  refuseUnsent(outageMs: number, message: string): Ending[] {
    const bereft = this.#unsent.filter(
      ({ state, request }) => state === "unsent" && brokerWaitMs(request.budgetMs) < outageMs,
    );
    return bereft.map((pending) => this.#refuse(pending, "unavailable", { message, retryAfterMs: 1000 }));
  }

  /** Ends what has run out of time; `cancels` tell the brokers about the parts that they have. */
  expire(nowMs: number): { readonly endings: Ending[]; readonly cancels: Cancellation[] } {
    const expired = this.#deadlines.expire(nowMs);
    const sent = expired.filter(({ state }) => state === "sent");
    const cancels: Cancellation[] = [];
    for (const [broker, pendings] of Map.groupBy(sent, (pending) => pending.broker)) {
      const items = pendings.map(({ number }) => ({ batch: 0, request: number }));
      while (items.length > 0) {
        cancels.push({ broker, message: { command: "CANCEL", items: items.splice(0, LIMITS.items) } });
      }
    }
    return { endings: expired.map((pending) => this.#expire(pending)), cancels };
  }

  /** The request that an answer belongs to, if it still waits for the answer to this attempt. */
  #sentAs(item: { readonly request: number; readonly attempt: number }): Pending | undefined {
    const pending = this.#byNumber.get(item.request);
    return pending?.state === "sent" && pending.attempt === item.attempt ? pending : undefined;
  }

  #expire(pending: Pending): Ending {
    const where = pending.state === "sent" ? "before the answer came" : "before a broker could take the request";
    const message = `the budget of ${Math.round(pending.request.budgetMs)} ms passed ${where}`;
    return this.#refuse(pending, "deadline_exceeded", { message });
  }

  /** It is to be sent again, or refused where too much is. */
  #takeBack(pending: Pending, nowMs: number): Ending | undefined {
    pending.retryMs += nowMs - pending.sinceMs;
    pending.sinceMs = nowMs;
    if (!this.#retries.take(nowMs)) {
      const message = "its broker is gone, and too many requests have been sent again already";
      return this.#refuse(pending, "unavailable", { message, retryAfterMs: RETRY_AFTER_MS });
    }
    pending.attempt++;
    pending.state = "unsent";
    this.#unsent.push(pending);
    return undefined;
  }

  #refuse(
    pending: Pending,
    code: ErrorCode,
    why: { readonly message: string; readonly retryAfterMs?: number; readonly stages?: StageDurations },
  ): Ending {
    this.#end(pending);
    const { message, retryAfterMs = 0, stages = noStages(pending) } = why;
    return { pending, answer: { ok: false, code, message, retryAfterMs, stages } };
  }

  #end(pending: Pending): void {
    if (pending.state === "unsent") this.#endedUnsent++;
    pending.state = "ended";
    this.#byNumber.delete(pending.number);
    this.#rows -= pending.request.rows;
    this.#deadlines.remove(pending);
    // While no broker takes them, what has ended must not go on holding its payload: O(1) each, as half of the list goes.
    if (this.#endedUnsent * 2 > this.#unsent.length) this.#forgetEnded();
  }

  #forgetEnded(): void {
    this.#unsent = this.#unsent.filter(({ state }) => state === "unsent");
    this.#endedUnsent = 0;
  }
}

function noStages(pending: Pending): StageDurations {
  const { queueMs: gatewayQueueMs, retryMs } = pending;
  return { gatewayQueueMs, brokerQueueMs: 0, batchWaitMs: 0, computeMs: 0, retryMs, networkMs: 0 };
}

function submitItem(pending: Pending, route: number, nowMs: number): SubmitItem {
  const { request } = pending;
  return {
    request: pending.number,
    attempt: pending.attempt,
    route,
    budgetUs: Math.max(0, Math.floor((pending.deadlineMs - nowMs) * 1000)),
    ageUs: Math.round(pending.queueMs * 1000),
    priority: request.priority,
    rows: request.rows,
    cost: request.cost,
    flags: 0,
    bucket: request.bucket,
    tenant: request.tenant,
    excludeWorker: "",
    payload: request.payload,
    tensors: encodeTensorList({
      tensors: request.inputs.map(({ name, datatype, shape, data }) => ({
        name,
        datatype,
        shape,
        bytes: data.byteLength,
      })),
      outputs: request.outputs,
    }),
    trace: encodeTrace(request.requestId),
  };
}

/** Views of the tensors that lie one behind the other in a payload; undefined where list, shapes and payload disagree. */
function cutTensors(list: Uint8Array, payload: Uint8Array): Tensor[] | undefined {
  const decoded = decodeTensorList(list);
  if (decoded === undefined) return undefined;
  const tensors: Tensor[] = [];
  let at = 0;
  for (const { name, datatype, shape, bytes } of decoded.tensors) {
    const data = payload.subarray(at, (at += bytes));
    if (!isWellSized(datatype, shape, data)) return undefined;
    tensors.push({ name, datatype, shape, data });
  }
  return at === payload.byteLength ? tensors : undefined;
}

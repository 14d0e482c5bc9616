import {
  classOf,
  errorCodeOf,
  JOB_FLAGS,
  PRIORITY_NAMES,
  type Message,
  type MessageOf,
  REQUEST_FLAGS,
  type SubmitItem,
} from "@millrace/protocol";
import type { BrokerAction, Side } from "../broker.ts";

/** A request as an onlooker knows it who sees what the broker is sent and what it sends, and nothing else. */
type Seen = {
  readonly item: SubmitItem;
  readonly deadlineMs: number;
  state: "queued" | "out" | "answering" | "ended";
  /** The turn in which it was cancelled; a refusal that was under way then still comes. */
  cancelledInTurn: number;
  /** The turn in which it was sent once more while open: what came with it may have pushed it out, and then both are refused. */
  repeatedInTurn: number;
  /**
   * `suspect`: it ran on a worker that was lost, and may leave only alone. `unclear`: it was staged there, or had been taken back. `poison`: it was alone
   * at its worker, and must end. `twice`: both of its runs at one time were lost with their workers, and it must end.
   */
  guilt: "none" | "unclear" | "suspect" | "poison" | "twice";
  /** The batches that it is in and that are out: one, or with a hedge two. */
  readonly runs: Set<SeenBatch>;
};

type SeenBatch = { readonly job: MessageOf<"JOB">; readonly requests: readonly Seen[] };

type SeenWorker = {
  readonly bytesMax: number;
  readonly granted: number[];
  readonly dispatched: number[];
  readonly slots: SeenBatch[][];
};

export type AuditLimits = {
  readonly rowsMax: readonly number[];
  /** What a batch may cost, by model; 0 = not limited. */
  readonly costMax?: readonly number[];
  /** 0 where nothing may run a second time before its first run is over. */
  readonly hedgePercent: number;
};

/** Hedges are for pools that have slots to spare. */
const HEDGE_UTILISATION_MAX = 0.7;

/** Keeps its own books of a broker from the messages that pass, and throws as soon as the broker breaks one of its promises. */
export class Auditor {
  readonly #limits: AuditLimits;
  /** The requests of each gateway session, by its connection. */
  readonly #gateways = new Map<string, Map<number, Seen>>();
  readonly #epochs = new Map<string, string>();
  readonly #workers = new Map<string, SeenWorker>();
  #turns = 0;
  /** Batches that were no hedges; and of them those that passed over what was more urgent. */
  batches = 0;
  spares = 0;
  /** Batches that were sent while their requests ran elsewhere. */
  hedges = 0;
  /** Requests that were taken back from behind a late batch. */
  recalls = 0;
  /** How requests ended, for the test to see that its scenarios are worth something. */
  readonly endings = new Map<string, number>();

  constructor(limits: AuditLimits) {
    this.#limits = limits;
  }

  /** A message that the broker handles now. */
  received(
    from: { readonly side: Side; readonly peer: string; readonly epoch: string },
    message: Message,
    nowMs: number,
  ): void {
    if (from.side === "gateway") this.#fromGateway(from, message, nowMs);
    else this.#fromWorker(from.peer, message);
  }

  /** What the broker does then. Answers count before batches: refusals are gathered, and sent behind the batches of their turn. */
  acted(actions: readonly BrokerAction[], nowMs: number): void {
    for (const action of actions) {
      if (action.type === "log") this.#logged(action);
      else if (action.message.command === "RESULT" || action.message.command === "REJECT")
        this.#answered(action.peer, action.message);
      else if (action.message.command === "CANCEL") this.#calledOff(action.peer, action.message);
    }
    for (const action of actions) {
      if (action.type === "send" && action.message.command === "JOB") this.#sent(action.peer, action.message, nowMs);
    }
  }

  /** Whether a message names an open request: it may have been refused in this turn, and only the end of the turn tells. */
  isRepetition(peer: string, message: Message): boolean {
    if (message.command !== "SUBMIT") return false;
    const requests = this.#gateways.get(peer);
    return message.items.some(({ request }) => (requests?.get(request)?.state ?? "ended") !== "ended");
  }

  turnEnds(): void {
    this.#turns++;
  }

  /** Once nothing moves any more. */
  atRest(): void {
    for (const requests of this.#gateways.values()) {
      for (const { state, item } of requests.values())
        check(state === "ended", `request ${item.request} has no answer`);
    }
  }

  #fromGateway(
    { peer, epoch }: { readonly peer: string; readonly epoch: string },
    message: Message,
    nowMs: number,
  ): void {
    if (message.command === "HELLO") this.#epochs.set(peer, epoch);
    const requests = this.#gateways.get(peer);
    if (requests === undefined) return;
    if (message.command === "SUBMIT") {
      for (const item of message.items) {
        const twin = requests.get(item.request);
        if (twin !== undefined && twin.state !== "ended") {
          twin.repeatedInTurn = this.#turns;
          continue;
        }
        requests.set(item.request, {
          item,
          deadlineMs: nowMs + item.budgetUs / 1000,
          state: "queued",
          cancelledInTurn: -1,
          repeatedInTurn: -1,
          guilt: "none",
          runs: new Set(),
        });
      }
    } else if (message.command === "CANCEL") {
      for (const { request } of message.items) {
        const seen = requests.get(request);
        if (seen === undefined || seen.state === "ended") continue;
        seen.cancelledInTurn = this.#turns;
        this.#end(seen, "cancelled");
      }
    }
  }

  #fromWorker(peer: string, message: Message): void {
    if (message.command === "HELLO" && !this.#workers.has(peer)) {
      const zeros = Array.from({ length: message.slots }, () => 0);
      const slots = zeros.map(() => []);
      this.#workers.set(peer, { bytesMax: message.bytesMax, granted: [...zeros], dispatched: [...zeros], slots });
    }
    const worker = this.#workers.get(peer);
    if (worker === undefined) return;
    if (message.command === "CREDIT" || message.command === "PING") {
      for (const slot of worker.granted.keys())
        worker.granted[slot] = Math.max(worker.granted[slot]!, message.granted[slot] ?? 0);
    } else if (message.command === "RESULT" || message.command === "NACK") {
      for (const slot of worker.slots) {
        const at = slot.findIndex(({ job }) => job.batch === message.batch);
        if (at < 0) continue;
        const index = worker.slots.indexOf(slot);
        if (message.command === "RESULT") worker.granted[index] = Math.max(worker.granted[index]!, message.granted);
        const [batch] = slot.splice(at, 1);
        for (const [i, seen] of batch!.requests.entries()) {
          const codes = message.command === "RESULT" ? message.items.filter(({ request }) => request === i) : [];
          if (!seen.runs.delete(batch!)) {
            // It was taken back, and had begun all the same.
            if (codes.some(({ code }) => code === 0) && seen.state !== "ended") seen.state = "answering";
            continue;
          }
          if (seen.state !== "out") continue;
          // Of two answers to a request the first counts.
          const isOk = codes[0]?.code === 0;
          // A failure is left to the other run.
          if (seen.runs.size > 0 && !isOk) continue;
          seen.state = message.command === "RESULT" ? "answering" : "queued";
        }
      }
    }
  }

  #logged({ text, fields }: BrokerAction & { type: "log" }): void {
    const peer = String(fields["peer"]);
    if (text === "gateway connected") this.#gateways.set(peer, new Map());
    else if (text === "gateway gone") {
      for (const seen of this.#gateways.get(peer)?.values() ?? [])
        if (seen.state !== "ended") this.#end(seen, "forgotten");
      this.#gateways.delete(peer);
    } else if (text === "worker gone") {
      for (const [running, staged] of this.#workers.get(peer)?.slots ?? []) {
        // What was taken back may have begun all the same.
        for (const batch of [running, staged])
          for (const seen of batch?.requests ?? [])
            if (!seen.runs.has(batch!) && seen.state !== "ended" && seen.guilt === "none") seen.guilt = "unclear";
        for (const seen of staged?.requests ?? []) {
          if (!seen.runs.delete(staged!) || seen.state !== "out") continue;
          if (seen.runs.size === 0) seen.state = "queued";
          if (seen.guilt === "none") seen.guilt = "unclear";
        }
        for (const seen of running?.requests ?? []) {
          if (!seen.runs.delete(running!) || seen.state !== "out") continue;
          if (seen.runs.size === 0) seen.state = "queued";
          if ((running!.job.flags & JOB_FLAGS.isolate) !== 0) seen.guilt = "poison";
          else seen.guilt = seen.guilt === "none" ? "suspect" : "twice";
        }
      }
      this.#workers.delete(peer);
    }
  }

  #answered(peer: string, message: MessageOf<"RESULT"> | MessageOf<"REJECT">): void {
    for (const { request, attempt, code } of message.items) {
      const seen = this.#gateways.get(peer)?.get(request);
      if (message.command === "REJECT" && seen?.state === "ended")
        if (seen.cancelledInTurn === this.#turns || seen.repeatedInTurn === this.#turns) continue;
      check(seen !== undefined && seen.state !== "ended", `request ${request} is answered, and nobody waits for it`);
      check(seen.item.attempt === attempt, `request ${request} is answered as another attempt`);
      const ending = code === 0 ? "ok" : errorCodeOf(code);
      check(
        (ending === "poison") === (seen.guilt === "poison"),
        `request ${request}: ${ending}, but guilt ${seen.guilt}`,
      );
      if (message.command === "RESULT")
        check(seen.state === "answering", `request ${request} has a result from nowhere`);
      this.#end(seen, ending);
    }
  }

  /** A request that somebody waits for, and that its worker need not begin any more, is taken back: only from behind another batch. */
  #calledOff(peer: string, { items }: MessageOf<"CANCEL">): void {
    for (const [running, staged] of this.#workers.get(peer)?.slots ?? []) {
      for (const { batch, request } of items) {
        const seen = staged?.job.batch === batch ? staged.requests[request] : undefined;
        const inRun = running?.job.batch === batch ? running.requests[request] : undefined;
        check(inRun?.state !== "out" || inRun.runs.size > 1, "a request is taken back that runs");
        if (seen?.state !== "out" || seen.runs.size > 1) continue;
        check((seen.item.flags & REQUEST_FLAGS.noRetry) === 0, "what may not run twice is taken back");
        seen.runs.delete(staged!);
        seen.state = "queued";
        this.recalls++;
      }
    }
  }

  #end(seen: Seen, how: string): void {
    seen.state = "ended";
    this.endings.set(how, (this.endings.get(how) ?? 0) + 1);
  }

  #sent(peer: string, job: MessageOf<"JOB">, nowMs: number): void {
    const worker = this.#workers.get(peer);
    check(worker !== undefined, "a batch for a worker without a session");
    const slot = worker.slots[job.slot];
    check(slot !== undefined && slot.length < 2, "more than two batches at a slot");
    check(++worker.dispatched[job.slot]! <= worker.granted[job.slot]!, "more dispatched than granted");
    const requests = job.items.map((item) => {
      const origin = Buffer.from(item.origin).toString("hex");
      const [gateway] =
        [...this.#epochs].find(([gateway, epoch]) => epoch === origin && this.#gateways.has(gateway)) ?? [];
      const seen = this.#gateways.get(gateway ?? "")?.get(item.request);
      const isHedge = this.#limits.hedgePercent > 0 && seen?.state === "out";
      check(seen?.state === "queued" || isHedge, `request ${item.request} runs, but it is ${seen?.state}`);
      check(seen.deadlineMs > nowMs, `request ${item.request} runs after its budget`);
      check(item.budgetUs <= (seen.deadlineMs - nowMs) * 1000, `the budget of request ${item.request} has grown`);
      check(seen.item.attempt === item.attempt && seen.item.rows === item.rows, "an item is not what was submitted");
      return seen;
    });
    const isHedge = requests[0]!.state === "out";
    if (isHedge) this.#checkHedge(worker, requests);
    else this.batches++;
    this.#checkBatch(job, requests);
    this.#checkWorker(worker, job);
    const batch = { job, requests };
    for (const seen of requests) {
      seen.state = "out";
      seen.runs.add(batch);
    }
    slot.push(batch);
    if (!isHedge) this.#checkOrder(requests, slot.length === 1);
  }

  /** Invariant 14: within the budget, not where it runs already, nothing that may run but once, and only with slots to spare. */
  #checkHedge(worker: SeenWorker, requests: readonly Seen[]): void {
    this.hedges++;
    check(this.hedges <= (this.batches * this.#limits.hedgePercent) / 100, "more hedges than their budget");
    for (const { state, runs, item } of requests) {
      check(state === "out" && runs.size === 1, "a hedge holds what does not run, or runs twice already");
      check((item.flags & REQUEST_FLAGS.noRetry) === 0, "what may not run twice is hedged");
      for (const run of runs) check(!worker.slots.some((slot) => slot.includes(run)), "a hedge on the same worker");
    }
    const slots = [...this.#workers.values()].flatMap((one) => one.slots);
    const busy = slots.filter((batches) => batches.length > 0).length;
    check(busy / slots.length < HEDGE_UTILISATION_MAX, "a hedge though the pool is busy");
  }

  #checkBatch(job: MessageOf<"JOB">, requests: readonly Seen[]): void {
    const rows = job.items.reduce((sum, item) => sum + item.rows, 0);
    check(rows <= this.#limits.rowsMax[job.model]!, "more rows than the model takes");
    const cost = requests.reduce((sum, { item }) => sum + item.cost, 0);
    const costMax = this.#limits.costMax?.[job.model] || Infinity;
    check(cost <= costMax || requests.length === 1, "a batch that costs more than the model takes");
    const isIsolated = (job.flags & JOB_FLAGS.isolate) !== 0;
    check(!isIsolated || requests.length === 1, "a request that should run alone does not");
    for (const seen of requests) {
      const { route, bucket } = seen.item;
      check(route === job.model && bucket === job.bucket, "models or buckets are mixed");
      check(seen.guilt !== "poison", "a poisonous request runs again");
      // Of a staged batch nobody can tell whether it ran.
      if (seen.guilt === "twice" && isIsolated) seen.guilt = "suspect";
      if (seen.guilt === "unclear") seen.guilt = isIsolated ? "suspect" : "none";
      check((seen.guilt === "suspect") === isIsolated, `isolated: ${isIsolated}, but guilt ${seen.guilt}`);
    }
  }

  #checkWorker(worker: SeenWorker, job: MessageOf<"JOB">): void {
    const out = worker.slots.flat();
    const isIsolated = ({ flags }: MessageOf<"JOB">): boolean => (flags & JOB_FLAGS.isolate) !== 0;
    check(out.length === 0 || !isIsolated(job), "a request that should run alone has company");
    check(!out.some((batch) => isIsolated(batch.job)), "a request that runs alone gets company");
    const bytesOf = ({ items }: MessageOf<"JOB">): number =>
      items.reduce((sum, { payload }) => sum + payload.byteLength, 0);
    const bytes = out.reduce((sum, batch) => sum + bytesOf(batch.job), bytesOf(job));
    check(bytes <= worker.bytesMax || (out.length === 0 && job.items.length === 1), "too many bytes at a worker");
  }

  /**
   * Earliest deadline first in each class: nothing that stays in the queue of the batch, or among the suspects, is more urgent than what
   * leaves. Or, to an idle slot, the other way round: a slower worker takes of a class what is least urgent.
   */
  #checkOrder(batch: readonly Seen[], toIdle: boolean): void {
    const { guilt: line } = batch[0]!;
    const { route, bucket } = batch[0]!.item;
    const latestMs = PRIORITY_NAMES.map(() => -Infinity);
    const classes = new Set<number>();
    for (const { item, deadlineMs } of batch) {
      const index = classOf(item.priority);
      classes.add(index);
      latestMs[index] = Math.max(latestMs[index]!, deadlineMs);
    }
    const earliestMs = Math.min(...batch.map(({ deadlineMs }) => deadlineMs));
    let passedOver: number | undefined;
    let isLast = toIdle && classes.size === 1 && line !== "suspect";
    for (const requests of this.#gateways.values()) {
      for (const { item, state, deadlineMs, guilt } of requests.values()) {
        if (state !== "queued" || guilt !== line || item.route !== route) continue;
        const index = classOf(item.priority);
        if (line === "suspect") check(deadlineMs >= Math.max(...latestMs), `suspect ${item.request} was passed over`);
        else if (item.bucket === bucket) {
          if (deadlineMs < latestMs[index]!) passedOver = item.request;
          if (classes.has(index) && deadlineMs > earliestMs) isLast = false;
        }
      }
    }
    if (passedOver !== undefined) this.spares++;
    check(passedOver === undefined || isLast, `request ${passedOver} was passed over`);
  }
}

export function check(holds: boolean, text: string): asserts holds {
  if (!holds) throw new Error(text);
}

import type { Message, MessageOf } from "@millrace/protocol";
import { Broker, type BrokerOptions, type Side } from "../broker.ts";
import {
  creditMessage,
  helloMessage,
  modelsMessage,
  pingMessage,
  resultMessage,
  submitItem,
} from "./message-builders.ts";
import { SimulatedClock } from "./simulated-network.ts";

const TICK_MS = 100;
const PING_MS = 500;

/** A worker that takes as long as it is told. */
export type VirtualWorker = {
  readonly slots: number;
  /** Time of a run in ms, by model and rows; `startMs` from the start of the clock. */
  readonly runMs: (model: number, rows: number, startMs: number) => number;
  /** What it announces at warm-up, by model: [rows, ms]. */
  readonly curves: readonly (readonly (readonly [rows: number, ms: number])[])[];
  /** How many runs stand behind each of these times; default 1. */
  readonly samples?: number;
  readonly fingerprint?: string;
  /** Until when it stands still at a time, as a stopped process does; a time at which it does not: that time. Default: never. */
  readonly stillUntilMs?: (atMs: number) => number;
};

export type VirtualPoolOptions = {
  readonly broker?: Partial<BrokerOptions>;
  readonly models: Parameters<typeof modelsMessage>[0];
  readonly workers: readonly VirtualWorker[];
  /** The way of a message, in ms. */
  readonly latencyMs?: number;
  /** By how much an answer is late on its way, in ms. */
  readonly answerLateMs?: () => number;
  /** By how much a timer is late, in ms. */
  readonly timerLateMs?: () => number;
  /** Called after each turn of the broker. */
  readonly afterTurn?: (core: Broker, nowMs: number) => void;
};

/** What a client asks for, and what became of it. `endMs`: Infinity while it has no answer. */
export type VirtualRequest = {
  readonly atMs: number;
  readonly model: number;
  readonly rows: number;
  readonly budgetMs: number;
  readonly flags?: number;
  endMs: number;
  isOk: boolean;
  /** The answers that it has had. */
  answers: number;
};

type Job = { readonly message: MessageOf<"JOB">; readonly rows: number; readonly cancelled: Set<number> };
type Slot = { running: Job | undefined; readonly staged: Job[]; granted: number };
type Peer = { readonly side: Side; readonly peer: string; readonly epoch: string; seq: number };
type Worker = { readonly peer: Peer; readonly slots: Slot[]; readonly plan: VirtualWorker };

/**
 * The whole broker core on a virtual clock with workers that never fail and take exact times: for what is promised of time. What is
 * promised of failures has SimulatedNetwork. Messages take a fixed time but for answers that are said to be late; nothing else takes any.
 */
export class VirtualPool {
  readonly clock = new SimulatedClock();
  readonly core: Broker;
  readonly #options: VirtualPoolOptions;
  readonly #gateway: Peer = { side: "gateway", peer: "gateway", epoch: "0".repeat(15) + "1", seq: 0 };
  readonly #workers: readonly Worker[];
  readonly #requests: VirtualRequest[] = [];
  #wakeAtMs = Infinity;
  /** Runs that have ended, by model: compute time in ms. */
  readonly computeMs: number[];
  /** Batches that were sent to workers, and rows in them. */
  batches = 0;
  rows = 0;

  constructor(options: VirtualPoolOptions) {
    this.#options = options;
    const defaults = {
      instance: "b",
      epoch: "b".repeat(16),
      queueRowsMax: 1e6,
      queueBytesMax: 1e9,
      slotsMax: 64,
      testHoldMs: 0,
    };
    this.core = new Broker({ ...defaults, ...options.broker });
    this.computeMs = options.models.map(() => 0);
    this.#say(this.#gateway, helloMessage("gateway", "gateway"));
    this.#workers = options.workers.map((plan, i) => {
      const peer: Peer = {
        side: "worker",
        peer: `worker ${i}`,
        epoch: (i + 16).toString(16).padStart(16, "0"),
        seq: 0,
      };
      const slots = Array.from({ length: plan.slots }, () => ({ running: undefined, staged: [], granted: 2 }));
      this.#say(peer, helloMessage("worker", `worker ${i}`, { slots: plan.slots, bytesMax: 1e9 }));
      this.#announce(peer, plan);
      this.#say(peer, creditMessage(slots.map(({ granted }) => granted)));
      return { peer, slots, plan };
    });
    this.#tick();
  }

  #announce(peer: Peer, { curves, samples = 1, fingerprint = "kind" }: VirtualWorker): void {
    const { models } = this.#options;
    const message = modelsMessage(models, { fingerprint });
    const entries = message.models.map((entry, i) => ({
      ...entry,
      curve: modelsMessage([models[i]!], { curveMs: curves[i] ?? [], fingerprint }).models[0]!.curve.map((point) => ({
        ...point,
        samples,
      })),
    }));
    this.#say(peer, { ...message, models: entries });
  }

  /** Plans a request; its record tells what became of it. */
  submit(given: Pick<VirtualRequest, "atMs" | "model" | "rows" | "budgetMs" | "flags">): VirtualRequest {
    const request: VirtualRequest = { ...given, endMs: Infinity, isOk: false, answers: 0 };
    const number = this.#requests.push(request) - 1;
    const { model: route, rows, budgetMs, flags = 0 } = given;
    this.clock.after(given.atMs - this.clock.nowMs, () => {
      const item = submitItem(number, { route, rows, flags, budgetUs: Math.floor(budgetMs * 1000), payload: NONE });
      this.#say(this.#gateway, { command: "SUBMIT", items: [item] });
      this.#turn();
    });
    return request;
  }

  run(untilMs: number): void {
    this.clock.runUntil(untilMs);
  }

  #say(from: Peer, message: Message): void {
    const stamp = { epoch: from.epoch, seq: ++from.seq };
    this.core.handle({ type: "received", side: from.side, peer: from.peer, stamp, message }, this.clock.nowMs);
  }

  #turn(): void {
    const { clock, core } = this;
    const { latencyMs = 0, timerLateMs, afterTurn } = this.#options;
    core.decide(clock.nowMs);
    for (const action of core.actions()) {
      if (action.type !== "send") continue;
      const { message } = action;
      if (action.side === "gateway") this.#heard(message);
      else if (message.command === "JOB" || message.command === "CANCEL") {
        const worker = this.#workers.find(({ peer }) => peer.peer === action.peer)!;
        const inMs = stillUntilMs(worker, clock.nowMs + latencyMs) - clock.nowMs;
        if (inMs === 0) this.#deliver(worker, message);
        else clock.after(inMs, () => this.#deliver(worker, message));
      }
    }
    afterTurn?.(core, clock.nowMs);
    const { wakeAtMs } = core;
    if (wakeAtMs === Infinity || wakeAtMs >= this.#wakeAtMs) return;
    this.#wakeAtMs = wakeAtMs;
    clock.after(Math.max(0, wakeAtMs - clock.nowMs) + (timerLateMs?.() ?? 0), () => {
      // A later call has set an earlier timer.
      if (this.#wakeAtMs !== wakeAtMs) return;
      this.#wakeAtMs = Infinity;
      this.#turn();
    });
  }

  #heard(message: Message): void {
    if (message.command !== "RESULT" && message.command !== "REJECT") return;
    for (const { request: number, code } of message.items) {
      const request = this.#requests[number]!;
      request.answers++;
      request.isOk = code === 0;
      request.endMs = this.clock.nowMs;
    }
  }

  #deliver(worker: Worker, message: MessageOf<"JOB"> | MessageOf<"CANCEL">): void {
    if (message.command === "CANCEL") {
      for (const { batch, request } of message.items) {
        for (const { running, staged } of worker.slots) {
          for (const job of running === undefined ? staged : [running, ...staged])
            if (job.message.batch === batch) job.cancelled.add(request);
        }
      }
      return;
    }
    const rows = message.items.reduce((sum, item) => sum + item.rows, 0);
    this.batches++;
    this.rows += rows;
    const slot = worker.slots[message.slot]!;
    slot.staged.push({ message, rows, cancelled: new Set() });
    this.#start(worker, slot);
  }

  #start(worker: Worker, slot: Slot): void {
    if (slot.running !== undefined) return;
    const job = slot.staged.shift();
    if (job === undefined) return;
    slot.running = job;
    const { clock } = this;
    const { latencyMs = 0, answerLateMs } = this.#options;
    const { model } = job.message;
    // Nothing is run for nobody.
    const wanted = job.message.items.map((_item, i) => !job.cancelled.has(i));
    const rows = job.message.items.reduce((sum, item, i) => sum + (wanted[i] === true ? item.rows : 0), 0);
    const isWanted = rows > 0;
    const runMs = isWanted ? worker.plan.runMs(model, rows, clock.nowMs) : 0;
    const computeMs = stillUntilMs(worker, clock.nowMs + runMs) - clock.nowMs;
    clock.after(computeMs, () => {
      this.computeMs[model]! += computeMs;
      slot.running = undefined;
      this.#start(worker, slot);
      const granted = ++slot.granted;
      clock.after(latencyMs + (answerLateMs?.() ?? 0), () => {
        const { message } = job;
        const answer = resultMessage(message, computeMs);
        // What is called off once it runs is answered.
        const items = answer.items.filter(({ request }) => wanted[request] === true);
        this.#say(worker.peer, { ...answer, items, batchRows: isWanted ? rows : 0, granted });
        this.#turn();
      });
    });
  }

  #tick(): void {
    this.clock.after(TICK_MS, () => {
      const { nowMs } = this.clock;
      if (Math.round(nowMs) % PING_MS === 0) {
        this.#say(this.#gateway, pingMessage());
        for (const { peer } of this.#workers) this.#say(peer, pingMessage());
      }
      this.core.handle({ type: "tick" }, nowMs);
      this.#turn();
      this.#tick();
    });
  }
}

function stillUntilMs({ plan }: Worker, atMs: number): number {
  return plan.stillUntilMs?.(atMs) ?? atMs;
}

const NONE = Buffer.alloc(0);

import { errorCodeOf, type Message, type MessageOf, type SubmitItem } from "@millrace/protocol";
import { Broker, type BrokerEvent, type BrokerOptions, type Side, type BrokerReport } from "../broker.ts";
import { type BrokerObserver, NO_OBSERVER } from "../metrics/observer.ts";
import {
  creditMessage,
  helloMessage,
  modelOf,
  modelsMessage,
  nackMessage,
  pingMessage,
  resultMessage,
  submitItem,
} from "./message-builders.ts";

const TICK_MS = 100;
const PING_MS = 500;

const OPTIONS: BrokerOptions = {
  instance: "broker",
  epoch: "b0b0b0b0b0b0b0b0",
  queueRowsMax: 1_000,
  queueBytesMax: 1_000_000,
  slotsMax: 4,
  testHoldMs: 0,
};

/** An answer as a gateway sees it: `ok`, or the code of the refusal. */
export type Answer = { readonly request: number; readonly attempt: number; readonly code: string };

/** A broker under a virtual clock, with gateways and workers that say what a test lets them say. Nothing takes time but `advance`. */
export class BrokerDriver {
  /** What people have been told. */
  readonly reports: BrokerReport[] = [];
  readonly core: Broker;
  nowMs = 10_000;
  readonly #observer: BrokerObserver;
  readonly #peers = new Map<string, FakePeer>();
  #connections = 0;

  constructor(options: Partial<BrokerOptions> = {}) {
    this.#observer = options.observer ?? NO_OBSERVER;
    this.core = new Broker({ ...OPTIONS, ...options });
  }

  /** A gateway with a session. */
  gateway(instance = "gateway"): FakeGateway {
    const gateway = new FakeGateway(this, { peer: `peer-${++this.#connections}`, instance });
    this.#peers.set(`gateway ${gateway.peer}`, gateway);
    gateway.say(helloMessage("gateway", instance));
    return gateway;
  }

  /** A worker with a session, that has told its models and granted two batches a slot. */
  worker(instance = "worker", given: WorkerGiven = {}): FakeWorker {
    const { slots = 1, bytesMax = 1_000_000, models = [modelOf("m")], credit = 2 } = given;
    const worker = new FakeWorker(this, { peer: `peer-${++this.#connections}`, instance, slots });
    this.#peers.set(`worker ${worker.peer}`, worker);
    worker.say(helloMessage("worker", instance, { slots, bytesMax }));
    worker.say(modelsMessage(models, given));
    worker.granted.fill(credit);
    worker.say(creditMessage(worker.granted));
    return worker;
  }

  handle(event: BrokerEvent): void {
    this.core.handle(event, this.nowMs);
  }

  /** Ends a turn: the broker decides, and what it says is delivered. */
  decide(): void {
    this.core.decide(this.nowMs);
    for (const action of this.core.actions()) {
      if (action.type === "send") this.#peers.get(`${action.side} ${action.peer}`)?.hears(action.message, action.seq);
      else this.reports.push(action);
    }
    this.#observer.turnSent(this.nowMs);
  }

  /** Lets time pass: the broker is woken when it asks for it, ticks pass, and peers that are not silent say PING. */
  advance(ms: number): void {
    const endMs = this.nowMs + ms;
    for (;;) {
      this.decide();
      const tickMs = (Math.floor(this.nowMs / TICK_MS) + 1) * TICK_MS;
      this.nowMs = Math.min(endMs, tickMs, Math.max(this.nowMs, this.core.wakeAtMs));
      if (this.nowMs === tickMs) this.#tick();
      if (this.nowMs >= endMs) break;
    }
    this.decide();
  }

  #tick(): void {
    if (this.nowMs % PING_MS === 0)
      for (const peer of this.#peers.values()) if (!peer.isSilent) peer.say(pingMessage());
    this.handle({ type: "tick" });
  }
}

export type WorkerGiven = Parameters<typeof modelsMessage>[1] & {
  readonly slots?: number;
  readonly bytesMax?: number;
  readonly models?: Parameters<typeof modelsMessage>[0];
  readonly credit?: number;
};

/** One connection. Its reading methods end the turn first. */
class FakePeer {
  readonly driver: BrokerDriver;
  readonly side: Side;
  readonly peer: string;
  epoch: string;
  seq = 0;
  /** Sends no PING. */
  isSilent = false;
  #inbox: Message[] = [];
  readonly seqs: number[] = [];

  /** Peers of one instance are connections of one process. */
  constructor(driver: BrokerDriver, side: Side, given: { readonly peer: string; readonly instance: string }) {
    this.driver = driver;
    this.side = side;
    this.peer = given.peer;
    this.epoch = Buffer.from(given.instance.padEnd(8).slice(0, 8)).toString("hex");
  }

  say(message: Message): void {
    const stamp = { epoch: this.epoch, seq: ++this.seq };
    this.driver.handle({ type: "received", side: this.side, peer: this.peer, stamp, message });
  }

  hears(message: Message, seq: number): void {
    this.#inbox.push(message);
    this.seqs.push(seq);
  }

  /** Takes the messages of one command that have come. */
  take<C extends Message["command"]>(command: C): MessageOf<C>[] {
    this.driver.decide();
    const taken = this.#inbox.filter((message) => message.command === command);
    this.#inbox = this.#inbox.filter((message) => message.command !== command);
    return taken as unknown as MessageOf<C>[];
  }

  /** The codes of the errors that have come. */
  errors(): string[] {
    return this.take("ERROR").map(({ code }) => errorCodeOf(code));
  }

  /** The connection goes. */
  leave(): void {
    this.isSilent = true;
    this.driver.handle({ type: "gone", side: this.side, peer: this.peer });
  }
}

export class FakeGateway extends FakePeer {
  constructor(driver: BrokerDriver, given: { readonly peer: string; readonly instance: string }) {
    super(driver, "gateway", given);
  }

  /** Submits requests by their numbers; the smaller are the more urgent ones where the test gives no budget. */
  submit(requests: readonly number[], given: Partial<SubmitItem> = {}): void {
    this.say({ command: "SUBMIT", items: requests.map((request) => submitItem(request, given)) });
  }

  cancel(...requests: number[]): void {
    this.say({ command: "CANCEL", items: requests.map((request) => ({ batch: 0, request })) });
  }

  /** The answers that have come, by request. */
  answers(): Answer[] {
    const items = [...this.take("RESULT"), ...this.take("REJECT")].flatMap((message) => message.items);
    return items
      .map(({ request, attempt, code }) => ({ request, attempt, code: code === 0 ? "ok" : errorCodeOf(code) }))
      .sort((a, b) => a.request - b.request);
  }
}

export class FakeWorker extends FakePeer {
  /** Cumulative, by slot. */
  readonly granted: number[];

  constructor(
    driver: BrokerDriver,
    given: { readonly peer: string; readonly instance: string; readonly slots: number },
  ) {
    super(driver, "worker", given);
    this.granted = Array.from({ length: given.slots }, () => 0);
  }

  /** The batches that have come, each as the numbers of its requests. */
  jobs(): MessageOf<"JOB">[] {
    return this.take("JOB");
  }

  /** Answers a batch in full, and grants its place anew. */
  answer(job: MessageOf<"JOB">, computeMs = 1): void {
    this.say({ ...resultMessage(job, computeMs), granted: ++this.granted[job.slot]! });
  }

  handBack(job: MessageOf<"JOB">, started: boolean): void {
    this.say(nackMessage(job.batch, started));
    this.grantAnew(job.slot);
  }

  grantAnew(slot: number): void {
    this.granted[slot]!++;
    this.say(creditMessage(this.granted));
  }
}

/** The numbers of the requests of each batch. */
export function requestsOf(jobs: readonly MessageOf<"JOB">[]): number[][] {
  return jobs.map(({ items }) => items.map(({ request }) => request));
}

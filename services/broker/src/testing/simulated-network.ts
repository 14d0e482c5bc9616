import type { Message } from "@millrace/protocol";
import { EdfQueue, type Queued } from "@millrace/scheduling";
import { Broker, type BrokerEvent, type BrokerOptions, type Side } from "../broker.ts";
import type { Auditor } from "./auditor.ts";

/** Numbers of 0 to 1 (without 1) that follow from a seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Due = Queued & { readonly run: () => void };

/** A virtual clock: what is planned runs in the order of its time. */
export class SimulatedClock {
  nowMs = 0;
  readonly #plan = new EdfQueue<Due>();

  after(ms: number, run: () => void): void {
    this.#plan.push({ deadlineMs: this.nowMs + ms, rows: 0, queueIndex: -1, run });
  }

  runUntil(endMs: number): void {
    for (let due = this.#plan.head; due !== undefined && due.deadlineMs <= endMs; due = this.#plan.head) {
      this.#plan.pop();
      this.nowMs = due.deadlineMs;
      due.run();
    }
    this.nowMs = endMs;
  }
}

/** One connection of a gateway or worker: messages arrive in order, each a random time after it was sent. */
export class Connection {
  readonly side: Side;
  readonly peer: string;
  readonly epoch: string;
  isOpen = true;
  readonly #network: SimulatedNetwork;
  readonly #hear: (message: Message) => void;
  #seq = 0;
  #lastMs = { toBroker: 0, toPeer: 0 };

  constructor(network: SimulatedNetwork, side: Side, hear: (message: Message) => void) {
    const number = network.connections++;
    this.#network = network;
    this.#hear = hear;
    this.side = side;
    this.peer = `${side} ${number}`;
    this.epoch = number.toString(16).padStart(16, "0");
  }

  say(message: Message): void {
    if (!this.isOpen) return;
    const stamp = { epoch: this.epoch, seq: ++this.#seq };
    this.#deliver("toBroker", () => {
      const { side, peer } = this;
      this.#network.handle({ type: "received", side, peer, stamp, message });
    });
  }

  hears(message: Message): void {
    this.#deliver("toPeer", () => this.#hear(message));
  }

  /** The connection breaks: what is under way is lost, and the broker is told after a while, or never. */
  breaks(isSeen: boolean): void {
    this.isOpen = false;
    const { side, peer } = this;
    const { clock, random } = this.#network;
    if (isSeen) clock.after(random() * 5, () => this.#network.handle({ type: "gone", side, peer }));
  }

  #deliver(way: "toBroker" | "toPeer", arrive: () => void): void {
    const { clock, random } = this.#network;
    const atMs = Math.max(this.#lastMs[way], clock.nowMs + 0.05 + random() * random() * 3) + 1e-6;
    this.#lastMs[way] = atMs;
    clock.after(atMs - clock.nowMs, () => {
      if (this.isOpen) arrive();
    });
  }
}

/** A broker on a virtual clock, in turns of random length, and the connections to it; everything that passes is audited. */
export class SimulatedNetwork {
  readonly clock: SimulatedClock;
  readonly random: () => number;
  readonly core: Broker;
  connections = 0;
  readonly #auditor: Auditor;
  readonly #peers = new Map<string, Connection>();
  #isTurnPlanned = false;
  #wakeAtMs = Infinity;

  constructor(seed: number, options: BrokerOptions, auditor: Auditor) {
    this.clock = new SimulatedClock();
    this.random = randomFrom(seed);
    this.core = new Broker(options);
    this.#auditor = auditor;
    this.#tick();
  }

  connect(side: Side, hear: (message: Message) => void): Connection {
    const connection = new Connection(this, side, hear);
    this.#peers.set(connection.peer, connection);
    return connection;
  }

  handle(event: BrokerEvent): void {
    if (event.type === "received") {
      const { side, peer, stamp, message } = event;
      if (this.#auditor.isRepetition(peer, message)) this.#turn();
      if (this.core.state !== "drained") {
        this.#auditor.received({ side, peer, epoch: stamp.epoch }, message, this.clock.nowMs);
      }
    }
    this.core.handle(event, this.clock.nowMs);
    this.#act();
    this.#planTurn(this.random() * 0.3);
  }

  #planTurn(inMs: number): void {
    if (this.#isTurnPlanned) return;
    this.#isTurnPlanned = true;
    this.clock.after(inMs, () => {
      this.#isTurnPlanned = false;
      this.#turn();
    });
  }

  #turn(): void {
    this.core.decide(this.clock.nowMs);
    this.#act();
    this.#auditor.turnEnds();
    // A timer comes up to a millisecond late.
    const { wakeAtMs } = this.core;
    if (wakeAtMs === Infinity || wakeAtMs === this.#wakeAtMs) return;
    this.#wakeAtMs = wakeAtMs;
    this.clock.after(wakeAtMs - this.clock.nowMs + this.random(), () => {
      this.#wakeAtMs = Infinity;
      this.#planTurn(0);
    });
  }

  #act(): void {
    const actions = this.core.actions();
    this.#auditor.acted(actions, this.clock.nowMs);
    for (const action of actions) {
      if (action.type === "send") this.#peers.get(action.peer)?.hears(action.message);
    }
  }

  #tick(): void {
    this.clock.after(100, () => {
      this.handle({ type: "tick" });
      this.#tick();
    });
  }
}

import type { Message, SubmitItem } from "@millrace/protocol";
import { helloMessage, pingMessage, submitItem } from "./message-builders.ts";
import type { Connection, SimulatedNetwork } from "./simulated-network.ts";

export type GatewayFaults = {
  /** Probability by request: that its client goes away, or that its number is sent a second time. */
  readonly cancel: number;
  readonly repeat: number;
  /** Probability by pause of 100 ms: that its connection breaks. */
  readonly lose: number;
};

/** What a client asks for; `atMs` after the start. */
export type ClientRequest = Pick<
  SubmitItem,
  "route" | "rows" | "cost" | "bucket" | "payload" | "flags" | "priority" | "tenant"
> & {
  readonly atMs: number;
  readonly budgetMs: number;
};

type Open = { readonly request: ClientRequest; readonly deadlineMs: number; attempt: number; isSent: boolean };

/** A gateway that keeps each request until it is answered, on a virtual clock, over as many sessions as it takes. */
export class SimulatedGateway {
  readonly #network: SimulatedNetwork;
  readonly #instance: string;
  readonly #faults: GatewayFaults;
  readonly #open = new Map<number, Open>();
  #connection: Connection | undefined;
  #isActive = false;
  #numbers = 0;
  isFaulty = true;

  constructor(
    network: SimulatedNetwork,
    plan: { instance: string; requests: readonly ClientRequest[]; faults: GatewayFaults },
  ) {
    this.#network = network;
    this.#instance = plan.instance;
    this.#faults = plan.faults;
    for (const request of plan.requests) network.clock.after(request.atMs, () => this.#take(request));
    this.#connect();
    this.#live();
  }

  #connect(): void {
    this.#isActive = false;
    for (const open of this.#open.values()) {
      if (open.isSent) open.attempt++;
      open.isSent = false;
    }
    const connection = this.#network.connect("gateway", (message) => {
      if (this.#connection === connection) this.#hear(message);
    });
    this.#connection = connection;
    connection.say(helloMessage("gateway", this.#instance));
  }

  #take(request: ClientRequest): void {
    const number = this.#numbers++;
    const { clock, random } = this.#network;
    this.#open.set(number, { request, deadlineMs: clock.nowMs + request.budgetMs, attempt: 0, isSent: false });
    this.#flush();
    if (random() >= this.#faults.cancel) return;
    clock.after(random() * request.budgetMs, () => {
      const open = this.#open.get(number);
      this.#open.delete(number);
      if (open?.isSent) this.#connection?.say({ command: "CANCEL", items: [{ batch: 0, request: number }] });
    });
  }

  /** Submits what is unsent, in one message or two. */
  #flush(): void {
    if (!this.#isActive) return;
    const { clock, random } = this.#network;
    const items: SubmitItem[] = [];
    for (const [number, open] of this.#open) {
      if (open.isSent) continue;
      open.isSent = true;
      const { atMs: _, budgetMs: __, ...item } = open.request;
      const budgetUs = Math.max(0, Math.floor((open.deadlineMs - clock.nowMs) * 1000));
      items.push(submitItem(number, { attempt: open.attempt, ...item, budgetUs }));
    }
    const repeated = items.filter(() => this.isFaulty && random() < this.#faults.repeat);
    const at = Math.floor(random() * items.length);
    for (const part of [items.slice(0, at), items.slice(at), repeated])
      if (part.length > 0) this.#connection?.say({ command: "SUBMIT", items: part });
  }

  #hear(message: Message): void {
    switch (message.command) {
      case "ROUTES":
        this.#isActive = true;
        return this.#flush();
      case "RESULT":
      case "REJECT":
        for (const { request } of message.items) this.#open.delete(request);
        return;
      case "ERROR":
        this.#connection?.breaks(true);
        return this.#connect();
      default:
        return;
    }
  }

  /** Says PING, gives up what is overdue, and now and then loses its connection. */
  #live(): void {
    const { clock, random } = this.#network;
    this.#connection?.say(pingMessage());
    for (const [number, { deadlineMs, isSent }] of this.#open) {
      if (deadlineMs > clock.nowMs) continue;
      this.#open.delete(number);
      if (isSent) this.#connection?.say({ command: "CANCEL", items: [{ batch: 0, request: number }] });
    }
    if (this.isFaulty && random() < this.#faults.lose) {
      this.#connection?.breaks(random() < 0.7);
      this.#connect();
    }
    clock.after(100, () => this.#live());
  }
}

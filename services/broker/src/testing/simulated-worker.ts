import { ERROR_CODES, type Message, type MessageOf } from "@millrace/protocol";
import {
  creditMessage,
  helloMessage,
  modelsMessage,
  nackMessage,
  pingMessage,
  resultItem,
  resultMessage,
} from "./message-builders.ts";
import type { Connection, SimulatedNetwork } from "./simulated-network.ts";

/** A payload that begins with this octet ends the worker that runs it. */
export const POISON = 0xff;

export type WorkerFaults = {
  /** Probabilities by batch: that the worker is killed in its run, hands it back, or answers nonsense beside the answer. */
  readonly kill: number;
  readonly handBack: number;
  readonly nonsense: number;
  /** Probability by pause of 100 ms: that it drains, or says nothing for four seconds. */
  readonly drain: number;
  readonly freeze: number;
};

export type WorkerPlan = {
  readonly instance: string;
  readonly slots: number;
  readonly bytesMax: number;
  readonly models: Parameters<typeof modelsMessage>[0];
  /** Time of a run of one row, by model. */
  readonly rowMs: readonly number[];
  readonly faults: WorkerFaults;
};

type Job = { readonly message: MessageOf<"JOB">; readonly receivedMs: number; readonly cancelled: Set<number> };

type Slot = { running: Job | undefined; staged: Job[]; granted: number };

/**
 * - `connecting`: HELLO was sent. `active`: serves. `draining`: finishes what it has, then goes and comes again.
 * - `frozen`: lives and says nothing; what it would say is said when it thaws.
 * - `dead`: killed; it comes again after a while.
 */
type State = "connecting" | "active" | "draining" | "frozen" | "dead";

/** A worker that takes random times and has faults, on a virtual clock; it keeps its credit as real workers do. */
export class SimulatedWorker {
  readonly #network: SimulatedNetwork;
  readonly #plan: WorkerPlan;
  #state: State = "dead";
  #connection: Connection | undefined;
  #slots: Slot[] = [];
  #unsaid: Message[] = [];
  /** Counts incarnations: what was planned by an earlier one does not happen. */
  #life = 0;
  /** Poisonous requests that it has begun to run, over all lives. */
  readonly onPoison: (payload: Uint8Array) => void;
  isFaulty = true;

  constructor(network: SimulatedNetwork, plan: WorkerPlan, onPoison: (payload: Uint8Array) => void) {
    this.#network = network;
    this.#plan = plan;
    this.onPoison = onPoison;
    this.#start();
    this.#live();
  }

  #start(): void {
    this.#life++;
    this.#slots = Array.from({ length: this.#plan.slots }, () => ({ running: undefined, staged: [], granted: 0 }));
    this.#connect();
  }

  #connect(): void {
    this.#state = "connecting";
    const connection = this.#network.connect("worker", (message) => {
      if (this.#connection === connection) this.#hear(message);
    });
    this.#connection = connection;
    const { instance, slots, bytesMax } = this.#plan;
    this.#say(helloMessage("worker", instance, { slots, bytesMax }));
  }

  #say(message: Message): void {
    if (this.#state === "frozen") this.#unsaid.push(message);
    else this.#connection?.say(message);
  }

  #hear(message: Message): void {
    switch (message.command) {
      case "WELCOME":
        if (this.#state !== "connecting") return;
        this.#state = "active";
        for (const slot of this.#slots) {
          slot.staged = [];
          slot.granted = slot.running === undefined ? 2 : 1;
        }
        this.#say(modelsMessage(this.#plan.models));
        return this.#credit();
      case "JOB": {
        const slot = this.#slots[message.slot]!;
        slot.staged.push({ message, receivedMs: this.#network.clock.nowMs, cancelled: new Set() });
        return this.#next(slot);
      }
      case "CANCEL":
        for (const { batch, request } of message.items) {
          for (const { running, staged } of this.#slots)
            for (const job of [...staged, ...(running ? [running] : [])])
              if (job.message.batch === batch) job.cancelled.add(request);
        }
        return;
      case "DRAINED":
        for (const slot of this.#slots) {
          slot.granted += slot.staged.length;
          for (const { message } of slot.staged.splice(0)) this.#say(nackMessage(message.batch, false));
        }
        return this.#leaveIfDone();
      case "ERROR":
        // The session is lost: what runs still runs, and nobody waits for it.
        this.#connection?.breaks(true);
        return this.#connect();
      default:
        return;
    }
  }

  #next(slot: Slot): void {
    if (slot.running !== undefined) return;
    const job = slot.staged.shift();
    if (job === undefined) return;
    slot.running = job;
    const { random, clock } = this.#network;
    const poison = job.message.items.find(({ payload }, i) => payload[0] === POISON && !job.cancelled.has(i));
    const { faults, rowMs } = this.#plan;
    const rows = job.message.items.reduce((sum, item) => sum + item.rows, 0);
    const computeMs = rowMs[job.message.model]! * (1 + 0.1 * rows) * (0.8 + 0.4 * random());
    const isKilled = this.isFaulty && random() < faults.kill;
    const [life, connection, startedMs] = [this.#life, this.#connection, clock.nowMs];
    // What is called off once it runs is answered.
    const begun = { ...job, cancelled: new Set(job.cancelled) };
    if (poison !== undefined) this.onPoison(poison.payload);
    clock.after(poison !== undefined || isKilled ? computeMs * random() * 0.5 : computeMs, () => {
      if (this.#life !== life) return;
      if (poison !== undefined || isKilled) return this.#die(random() < 0.8);
      slot.running = undefined;
      this.#next(slot);
      if (this.#connection === connection && this.#state !== "connecting")
        this.#answer(slot, begun, clock.nowMs - startedMs);
      this.#leaveIfDone();
    });
  }

  #answer(slot: Slot, { message, cancelled, receivedMs }: Job, computeMs: number): void {
    const { random } = this.#network;
    const { faults } = this.#plan;
    slot.granted++;
    if (this.isFaulty && random() < faults.handBack) {
      this.#say(nackMessage(message.batch, random() < 0.5));
      this.#credit();
    } else {
      const positions = [...message.items.keys()].filter((i) => !cancelled.has(i));
      const items = positions.map((i) => resultItem(message, i, { code: this.#codeOf(message, i, receivedMs) }));
      const isNonsense = this.isFaulty && random() < faults.nonsense;
      if (isNonsense)
        items.splice(Math.floor(random() * items.length), 1, resultItem(message, 999), resultItem(message, 0));
      this.#say({ ...resultMessage(message, computeMs, items), granted: slot.granted });
      if (isNonsense) {
        this.#say(resultMessage(message, computeMs));
        this.#say(resultMessage({ ...message, batch: message.batch + 1_000 }, 1));
        this.#say(nackMessage(message.batch, true));
        this.#say(creditMessage(this.#slots.map(({ granted }) => granted - 1)));
        this.#say(creditMessage([...this.#slots.map(() => 0), 99, 99]));
      }
    }
  }

  #codeOf(message: MessageOf<"JOB">, index: number, receivedMs: number): number {
    const { budgetUs } = message.items[index]!;
    if (receivedMs + budgetUs / 1000 <= this.#network.clock.nowMs) return ERROR_CODES.deadline_exceeded.number;
    return this.#network.random() < 0.05 ? ERROR_CODES.model_error.number : 0;
  }

  #credit(): void {
    this.#say(creditMessage(this.#slots.map(({ granted }) => granted)));
  }

  /** Says PING, and now and then drains or freezes. */
  #live(): void {
    const { clock, random } = this.#network;
    const { drain, freeze } = this.#plan.faults;
    if (this.#state === "active" || this.#state === "draining") {
      this.#say(pingMessage(this.#slots.map(({ granted }) => granted)));
    }
    if (this.isFaulty && this.#state === "active") {
      const luck = random();
      if (luck < drain) {
        this.#say({ command: "DRAIN", reason: "planned", graceMs: 0 });
        this.#state = "draining";
      } else if (luck < drain + freeze) this.#freeze();
    }
    clock.after(100, () => this.#live());
  }

  #freeze(): void {
    const life = this.#life;
    this.#state = "frozen";
    this.#network.clock.after(4_000, () => {
      if (this.#life !== life || this.#state !== "frozen") return;
      this.#state = "active";
      for (const message of this.#unsaid.splice(0)) this.#say(message);
    });
  }

  #leaveIfDone(): void {
    const isDone = this.#slots.every(({ running, staged }) => running === undefined && staged.length === 0);
    if (this.#state !== "draining" || !isDone) return;
    this.#say({ command: "GOODBYE", reason: "drained", graceMs: 0 });
    this.#state = "dead";
    this.#comeAgain();
  }

  #die(isSeen: boolean): void {
    this.#state = "dead";
    this.#connection?.breaks(isSeen);
    this.#connection = undefined;
    this.#unsaid = [];
    this.#comeAgain();
  }

  #comeAgain(): void {
    const life = ++this.#life;
    this.#network.clock.after(20 + this.#network.random() * 300, () => {
      if (this.#life === life) this.#start();
    });
  }
}

import {
  ERROR_CODES,
  type ErrorCode,
  LIMITS,
  type Load,
  type Message,
  type MessageOf,
  PING_EVERY_MS,
  requestIdsOf,
  type Stamp,
  TotalsBook,
} from "@millrace/protocol";
import type { KeptCurve } from "@millrace/scheduling";
import { Dispatcher, type DispatcherOptions } from "./dispatch/dispatcher.ts";
import type { Loss } from "./dispatch/loss.ts";
import { GatewaySession } from "./sessions/gateway-session.ts";
import { ModelBook } from "./models/model-book.ts";
import type { Weights } from "./models/model-version.ts";
import { type BrokerObserver, NO_OBSERVER } from "./metrics/observer.ts";
import { Outbox } from "./sessions/outbox.ts";
import type { PeerSession } from "./sessions/peer-session.ts";
import { WorkerSession } from "./sessions/worker-session.ts";

/** The two sockets of a broker: the side that a peer is on is the proof of its role. */
export type Side = "gateway" | "worker";

export type BrokerEvent =
  | {
      readonly type: "received";
      readonly side: Side;
      readonly peer: string;
      readonly stamp: Stamp;
      readonly message: Message;
    }
  /** A message that could not be read. `code`: what to answer; undefined where a newer peer's command need not be understood. */
  | {
      readonly type: "unreadable";
      readonly side: Side;
      readonly peer: string;
      readonly code: ErrorCode | undefined;
      readonly fault: string;
      readonly seq: number;
    }
  | { readonly type: "gone"; readonly side: Side; readonly peer: string }
  | { readonly type: "tick" }
  | { readonly type: "drain"; readonly reason: string };

export type BrokerAction =
  | {
      readonly type: "send";
      readonly side: Side;
      readonly peer: string;
      readonly seq: number;
      readonly message: Message;
    }
  | BrokerReport;

/** Something that people should know of. */
export type BrokerReport = {
  readonly type: "log";
  readonly level: "info" | "warn";
  readonly text: string;
  readonly fields: Readonly<Record<string, string | number>>;
};

/**
 * - `serving`: takes requests.
 * - `draining`: refuses new requests, finishes those it has. Entered by the `drain` event, or when all is done at once:
 * - `drained`: nothing is left; the process may end.
 */
export type BrokerState = "serving" | "draining" | "drained";

export type BrokerOptions = Omit<DispatcherOptions, "observer" | "onLoss"> & {
  /** Measures what happens; nothing by default. */
  readonly observer?: BrokerObserver;
  readonly instance: string;
  /** A default holds without. */
  readonly weights?: Weights;
  /** Curves that were measured before; those of a kind of worker that comes fill in for what was not measured since. */
  readonly curves?: readonly KeptCurve[];
  /** Of this life of it: 16 hex digits. */
  readonly epoch: string;
  /** Execution lanes that one worker may announce. */
  readonly slotsMax: number;
};

export type SessionsView = {
  readonly gateways: readonly { readonly instance: string; readonly state: string; readonly open: number }[];
  readonly workers: readonly {
    readonly instance: string;
    readonly state: string;
    readonly bytes_out: number;
    readonly slots: readonly { readonly granted: number; readonly dispatched: number; readonly out: number }[];
  }[];
};

/** What sessions may have beside what all have. */
const FEATURES: readonly string[] = ["totals"];

/** A connection that breaks the protocol is answered this often in this time, in ms; what is beyond it is ignored. */
const ERRORS_PER_PEER_MAX = 3;
const ERRORS_WINDOW_MS = 10_000;

/** Connections whose errors are counted at one time; beyond it errors go unanswered. */
const ERROR_PEERS_MAX = 10_000;

/**
 * The broker as a pure state machine: `handle` takes an event and the time, `decide` what follows once all events of a turn
 * are in, and `actions` gives what the shell has to do, in order. No clock, no I/O, no randomness.
 */
export class Broker {
  state: BrokerState = "serving";
  readonly models: ModelBook;
  readonly #options: BrokerOptions;
  readonly #observer: BrokerObserver;
  readonly #sessions = { gateway: new Map<string, GatewaySession>(), worker: new Map<string, WorkerSession>() };
  readonly #dispatcher: Dispatcher;
  /** What other brokers have counted, as gateways tell it. */
  readonly #others = new TotalsBook();
  /** Errors answered in the present window, by connection. */
  readonly #errors = new Map<string, number>();
  #errorsSinceMs = 0;
  #actions: BrokerAction[] = [];
  #routesChanged = false;

  constructor(options: BrokerOptions) {
    this.#options = options;
    this.models = new ModelBook(options.weights, options.curves);
    const { observer = NO_OBSERVER } = options;
    this.#observer = observer;
    const outbox = new Outbox((session, message) => this.#send(session, message));
    const onLoss = (loss: Loss): void => this.#logLoss(loss);
    this.#dispatcher = new Dispatcher(this.models, outbox, { ...options, observer, onLoss });
  }

  /** When `decide` has something to do even if no event comes; Infinity: never. */
  get wakeAtMs(): number {
    return this.#dispatcher.wakeAtMs;
  }

  get openRequests(): number {
    return this.#dispatcher.open;
  }

  /** The sessions that there are, by connection: for those that watch, and change nothing. */
  get sessions(): {
    readonly gateway: ReadonlyMap<string, GatewaySession>;
    readonly worker: ReadonlyMap<string, WorkerSession>;
  } {
    return this.#sessions;
  }

  /** What the admin port shows of the sessions: each account as the broker keeps it. At rest `open` and `bytes_out` are 0. */
  describeSessions(): SessionsView {
    const { gateway, worker } = this.#sessions;
    return {
      gateways: [...gateway.values()].map(({ instance, state, requests }) => ({
        instance,
        state,
        open: requests.size,
      })),
      workers: [...worker.values()].map(({ instance, state, bytesOut, slots }) => ({
        instance,
        state,
        bytes_out: bytesOut,
        slots: slots.map(({ granted, dispatched, batches }) => ({ granted, dispatched, out: batches.length })),
      })),
    };
  }

  handle(event: BrokerEvent, nowMs: number): void {
    if (this.state === "drained") return;
    switch (event.type) {
      case "received":
        if (event.side === "gateway") this.#fromGateway(event, nowMs);
        else this.#fromWorker(event, nowMs);
        return;
      case "unreadable":
        return this.#unreadable(event, nowMs);
      case "gone":
        // What it was told counts on: of a connection that is gone many messages may still have to be read.
        return this.#drop(this.#sessions[event.side].get(event.peer), "the connection is gone", nowMs);
      case "tick":
        for (const session of this.#all()) {
          if (!session.isLost(nowMs)) continue;
          this.#observer.peer(sideOf(session), "heartbeat_missed");
          this.#drop(session, "it was silent for too long", nowMs);
        }
        if (nowMs - this.#errorsSinceMs >= ERRORS_WINDOW_MS) {
          this.#errors.clear();
          this.#errorsSinceMs = nowMs;
        }
        return;
      case "drain":
        if (this.state !== "serving") return;
        this.state = "draining";
        this.#dispatcher.close(SHUTTING_DOWN);
        for (const gateway of this.#sessions.gateway.values()) this.#send(gateway, drainMessage(event.reason));
    }
  }

  /** Decides what can be decided now; call it once all events that are there have been handled. */
  decide(nowMs: number): void {
    if (this.#routesChanged) {
      this.#routesChanged = false;
      const routes = this.models.routes();
      for (const gateway of this.#sessions.gateway.values()) this.#send(gateway, routes);
    }
    this.#dispatcher.decide(nowMs);
    if (this.state === "draining" && this.#dispatcher.open === 0) {
      this.state = "drained";
      for (const session of this.#all()) {
        this.#send(session, { command: "GOODBYE", reason: SHUTTING_DOWN, graceMs: 0 });
      }
    }
  }

  /** Takes the actions that have come up, in order. */
  actions(): BrokerAction[] {
    const actions = this.#actions;
    this.#actions = [];
    return actions;
  }

  #fromGateway(event: BrokerEvent & { type: "received" }, nowMs: number): void {
    const { message } = event;
    if (message.command === "HELLO") {
      if (message.role !== "gateway") return this.#answerError(event, "invalid_request", "this port is for gateways");
      const session = this.#greet(event, message, nowMs);
      if (session === undefined) return;
      this.#send(session, this.models.routes());
      if (this.state === "draining") this.#send(session, drainMessage(SHUTTING_DOWN));
      return;
    }
    const session = this.#sessions.gateway.get(event.peer);
    if (session === undefined || !this.#inOrder(session, event, nowMs)) return this.#notRegistered(event);
    switch (message.command) {
      case "SUBMIT":
        for (const item of message.items) this.#dispatcher.submit(session, item, nowMs);
        return;
      case "CANCEL":
        for (const item of message.items) this.#dispatcher.cancel(session, item.request, nowMs);
        return;
      case "TOTALS":
        return this.#tellTotals(session, message, nowMs);
      default:
        this.#common(session, event, nowMs);
    }
  }

  #fromWorker(event: BrokerEvent & { type: "received" }, nowMs: number): void {
    const { message } = event;
    if (message.command === "HELLO") {
      const { slotsMax } = this.#options;
      if (message.role !== "worker") return this.#answerError(event, "invalid_request", "this port is for workers");
      if (message.slots < 1 || message.slots > slotsMax)
        return this.#answerError(event, "invalid_request", `slots must be 1 to ${slotsMax}, not ${message.slots}`);
      this.#greet(event, message, nowMs);
      return;
    }
    const session = this.#sessions.worker.get(event.peer);
    if (session === undefined || !this.#inOrder(session, event, nowMs)) return this.#notRegistered(event);
    switch (message.command) {
      case "MODELS":
        return this.#announce(session, message.models);
      case "CREDIT":
        return session.grant(message.granted);
      case "RESULT":
        return this.#dispatcher.result(session, message, nowMs);
      case "NACK":
        return this.#dispatcher.nack(session, message, nowMs);
      default:
        this.#common(session, event, nowMs);
    }
  }

  #announce(worker: WorkerSession, models: MessageOf<"MODELS">["models"]): void {
    // A worker that drains has said that it takes nothing new.
    if (worker.state === "draining") return;
    const leftOut = this.models.announce(worker, models);
    this.#routesChanged = true;
    if (leftOut > 0) this.#log("warn", "models were left out", { instance: worker.instance, models: leftOut });
  }

  /** What both kinds of peers may say; anything else is of the wrong role. */
  #common(session: PeerSession, event: BrokerEvent & { type: "received" }, nowMs: number): void {
    const { message } = event;
    switch (message.command) {
      case "PING":
        if (session instanceof WorkerSession) session.grant(message.granted);
        return this.#send(session, { command: "PONG", ping: message.ping, ...this.#load() });
      case "PONG":
      case "ERROR":
        return;
      case "DRAIN":
        session.state = "draining";
        this.#observer.peer(event.side, "draining");
        this.#log("info", `${event.side} drains`, { instance: session.instance, reason: message.reason });
        if (session instanceof WorkerSession) {
          session.withdrawn = [...session.models.keys()];
          this.models.withdraw(session);
          this.#routesChanged = true;
        }
        return this.#send(session, { command: "DRAINED", seq: session.lastSeq + 1 });
      case "GOODBYE":
        session.hasLeft = true;
        return this.#drop(session, message.reason, nowMs);
      default:
        this.#answerError(event, "unsupported", `${message.command} does not belong here`);
    }
  }

  /** What cannot be read is lost, and a session that has lost a message ends; what need not be understood is passed over. */
  #unreadable(event: BrokerEvent & { type: "unreadable" }, nowMs: number): void {
    const session = this.#sessions[event.side].get(event.peer);
    if (event.code === undefined && session?.skipped(event.seq, nowMs) !== false) return;
    this.#observer.dropped("malformed");
    this.#drop(session, event.fault, nowMs);
    this.#answerError(event, event.code ?? "not_registered", event.fault);
  }

  /**
   * Opens a session, or greets again one whose WELCOME was lost. An older connection of the same process is dead, and so is
   * another process of the same name that says nothing; one that lives keeps the name, and the newcomer is refused.
   */
  #greet(
    event: BrokerEvent & { type: "received" },
    hello: MessageOf<"HELLO">,
    nowMs: number,
  ): GatewaySession | WorkerSession | undefined {
    const sessions = this.#sessions[event.side] as Map<string, GatewaySession | WorkerSession>;
    let session = sessions.get(event.peer);
    if (session !== undefined && session.epoch !== event.stamp.epoch) {
      this.#drop(session, "another incarnation speaks on its connection", nowMs);
      session = undefined;
    }
    if (session === undefined) {
      for (const other of sessions.values()) {
        if (other.instance !== hello.instance) continue;
        if (other.epoch !== event.stamp.epoch && !other.isSilent(nowMs)) return this.#refuseNamesake(event, other);
        this.#drop(other, "the same instance has connected anew", nowMs);
      }
      const { peer, stamp } = event;
      const identity = { peer, stamp, instance: hello.instance, content: hello };
      session = event.side === "gateway" ? new GatewaySession(identity, nowMs) : new WorkerSession(identity, nowMs);
      sessions.set(peer, session);
      this.#observer.peer(event.side, "connected");
      this.#log("info", `${event.side} connected`, { instance: hello.instance, peer });
    } else session.resumed(event.stamp, nowMs);
    this.#send(session, {
      command: "WELCOME",
      instance: this.#options.instance,
      pingIntervalMs: PING_EVERY_MS,
      lostAfterMs: 0,
      windowItems: 0,
      windowBytes: 0,
      features: FEATURES.filter((feature) => hello.features.includes(feature)),
    });
    return session;
  }

  /** A gap means that messages were lost: the session ends, and the peer starts anew with a clean account. */
  #inOrder(session: PeerSession, event: BrokerEvent & { type: "received" }, nowMs: number): boolean {
    if (session.received(event.stamp, nowMs)) return true;
    this.#observer.peer(event.side, "messages_lost");
    this.#drop(session, "messages were lost", nowMs);
    return false;
  }

  #drop(session: PeerSession | undefined, reason: string, nowMs: number): void {
    if (session === undefined || session.state === "gone") return;
    session.state = "gone";
    const side = sideOf(session);
    this.#observer.peer(side, "disconnected");
    this.#sessions[side].delete(session.peer);
    this.#log(session.hasLeft ? "info" : "warn", `${side} gone`, {
      instance: session.instance,
      peer: session.peer,
      reason,
    });
    if (session instanceof WorkerSession) {
      this.models.withdraw(session);
      this.#dispatcher.workerLost(session, nowMs);
      this.#routesChanged = true;
    } else if (session instanceof GatewaySession) this.#dispatcher.gatewayLost(session, nowMs);
  }

  /** Two live processes of one name would end each other's sessions for ever. It tries again, so it is logged but once. */
  #refuseNamesake(event: BrokerEvent & { type: "received" }, other: PeerSession): undefined {
    this.#observer.peer(event.side, "refused");
    const text = `another live ${event.side} has the name ${other.instance}: names must be unique`;
    const isSent = this.#sendError(event, "invalid_request", text);
    if (isSent && !other.hasNamesake) this.#log("warn", text, { peer: event.peer });
    if (isSent) other.hasNamesake = true;
  }

  #notRegistered(event: BrokerEvent & { type: "received" }): void {
    this.#observer.dropped("unknown_peer");
    this.#answerError(event, "not_registered", "say HELLO first");
  }

  #answerError(event: BrokerEvent & { type: "received" | "unreadable" }, code: ErrorCode, text: string): void {
    const { side, peer } = event;
    if (event.type === "received" && event.message.command === "HELLO") this.#observer.peer(side, "refused");
    if (this.#sendError(event, code, text)) this.#log("warn", "a message was refused", { side, peer, code, text });
  }

  /** False, and nothing sent, where the connection has been told often enough. */
  #sendError(event: BrokerEvent & { type: "received" | "unreadable" }, code: ErrorCode, text: string): boolean {
    const { side, peer } = event;
    const key = `${side} ${peer}`;
    const given = (this.#errors.get(key) ?? 0) + 1;
    if (given > ERRORS_PER_PEER_MAX || this.#errors.size >= ERROR_PEERS_MAX) return false;
    this.#errors.set(key, given);
    const seq = event.type === "received" ? event.stamp.seq : event.seq;
    const message: Message = { command: "ERROR", code: ERROR_CODES[code].number, seq, retryAfterMs: 0, text };
    const session = this.#sessions[side].get(peer);
    this.#actions.push({ type: "send", side, peer, seq: session?.nextSeq() ?? 0, message });
    return true;
  }

  /** What this broker has counted, and what gateways have heard of others. */
  #tellTotals(session: PeerSession, { ask, entries }: MessageOf<"TOTALS">, nowMs: number): void {
    const counter = `${this.#options.instance}/${this.#options.epoch}`;
    this.#others.merge(
      entries.filter((entry) => entry.counter !== counter),
      nowMs,
    );
    const own = this.models.all.map(({ totals, description: { name, version } }) =>
      totals.entry({ counter, model: name, version }, nowMs),
    );
    this.#send(session, {
      command: "TOTALS",
      ask,
      entries: [...own, ...this.#others.entries(nowMs)].slice(0, LIMITS.list),
    });
  }

  #load(): Load {
    let queuedRows = 0;
    for (const model of this.models.all) queuedRows += model.queuedRows;
    return { queuedRows, runningBatches: 0, oldestMs: 0, progressAgeMs: 0, granted: [], dispatched: [] };
  }

  #send(session: PeerSession, message: Message): void {
    const side = sideOf(session);
    this.#actions.push({ type: "send", side, peer: session.peer, seq: session.nextSeq(), message });
  }

  #all(): PeerSession[] {
    return [...this.#sessions.gateway.values(), ...this.#sessions.worker.values()];
  }

  #logLoss({ batch, requests, code }: Loss): void {
    const { model, slot, id } = batch;
    const ids = requestIdsOf(requests.map(({ item }) => item.trace));
    const where = { model: model.description.name, worker: slot.worker.instance, batch: id };
    const fields = { ...where, requests: requests.length, "http.request.id": ids };
    if (code === undefined) this.#log("warn", "requests of a lost worker wait again", fields);
    else this.#log("warn", "a request is given up", { ...fields, "error.code": code });
  }

  #log(level: "info" | "warn", text: string, fields: Readonly<Record<string, string | number>>): void {
    this.#actions.push({ type: "log", level, text, fields });
  }
}

const SHUTTING_DOWN = "the broker is shutting down";

function sideOf(session: PeerSession): Side {
  return session instanceof WorkerSession ? "worker" : "gateway";
}

function drainMessage(reason: string): Message {
  return { command: "DRAIN", reason, graceMs: 0 };
}

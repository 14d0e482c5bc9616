import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import {
  ClientSession,
  type ClientSessionAction,
  type ClientSessionEvent,
  type ClientSessionState,
  type Content,
  decodeMessage,
  encodeMessage,
  type Load,
  type Message,
} from "@millrace/protocol";
import { type DealerSocket, openDealer } from "./dealer.ts";

/** How often the session looks at the clock, in ms. */
const TICK_MS = 50;

/** A lost session is opened anew after a random wait in this range, in ms: peers of one broker must not come in step. */
const REOPEN_MS = { min: 20, spread: 80 } as const;

/** Attempts that fail before the session is active double that range each time, up to about this wait, in ms. */
const BACK_OFF_MS_MAX = 2_000;

/** The longest wait that a broker can ask for, in ms. */
const RETRY_AFTER_MS_MAX = 60_000;

/** After this long without a session, in ms, somebody is told: a broker that restarts is back earlier. */
const TELL_AFTER_MS = 3_000;

export type BrokerLinkHandlers = {
  /** The session is open, for the first time or again: what was sent before does not count any more. */
  onActive(welcome: Content<"WELCOME">): void;
  /** The session was open and is lost: what is unanswered may or may not have arrived. */
  onLost(reason: string): void;
  /** Must not throw. Payloads are views into frames that are valid as long as they are held. */
  onMessage(message: Message): void;
};

export type BrokerLinkOptions = {
  /** `tcp://IP:PORT` of the broker's side for this role. */
  readonly address: string;
  readonly hello: Content<"HELLO">;
  readonly load: () => Load;
  readonly handlers: BrokerLinkHandlers;
  /**
   * Told why there is no session when an attempt is refused or none is there after about three seconds, and of octets that are
   * not MRP; the same fault once until the session is active again. For a log, as a warning.
   */
  readonly onFault: (fault: string) => void;
};

/** The connection of a gateway or worker to one broker: a session kept open over as many sockets as it takes. */
export class BrokerLink {
  readonly #options: BrokerLinkOptions;
  readonly #session: ClientSession;
  readonly #epoch = randomBytes(8).toString("hex");
  readonly #ticker: NodeJS.Timeout;
  #socket: DealerSocket | undefined;
  #seq = 0;
  #wasActive = false;
  /** Attempts in a row that failed without reaching an active session. */
  #failures = 0;
  #told = "";
  #absence: NodeJS.Timeout | undefined;
  #reopening: NodeJS.Timeout | undefined;

  constructor(options: BrokerLinkOptions) {
    this.#options = options;
    this.#session = new ClientSession({ hello: options.hello, load: options.load });
    this.#ticker = setInterval(() => this.#drive({ type: "tick" }), TICK_MS);
    this.#watchAbsence();
    this.#open();
  }

  get state(): ClientSessionState {
    return this.#session.state;
  }

  /** Sends in an active session; false, and nothing sent, in any other state. Never blocks, never throws. */
  send(message: Message): boolean {
    if (this.#session.state !== "active") return false;
    this.#transmit(message);
    return true;
  }

  /** Says goodbye, gives what is queued two seconds to leave, and closes. */
  close(reason: string): void {
    clearInterval(this.#ticker);
    clearTimeout(this.#reopening);
    clearTimeout(this.#absence);
    this.#drive({ type: "goodbye", reason });
    this.#socket?.close("graceful");
    this.#socket = undefined;
  }

  #open(): void {
    this.#seq = 0;
    const socket = openDealer(this.#options.address, {
      onMessage: (frames) => this.#receive(frames),
      onDisconnected: () => {
        if (this.#socket === socket) this.#drive({ type: "disconnected" });
      },
    });
    this.#socket = socket;
    this.#drive({ type: "opened" });
  }

  #receive(frames: readonly Buffer[]): void {
    const decoded = decodeMessage(frames);
    if (decoded.ok) {
      const { epoch, seq } = decoded.preamble;
      return this.#drive({ type: "received", epoch, seq, message: decoded.message });
    }
    const { fault, answer, preamble } = decoded;
    if (answer !== undefined) {
      return this.#drive({ type: "unreadable", reason: `a message of the broker cannot be read: ${fault}` });
    }
    if (preamble === undefined) return this.#tell(fault);
    this.#drive({ type: "skipped", epoch: preamble.epoch, seq: preamble.seq });
  }

  #drive(event: ClientSessionEvent): void {
    for (const action of this.#session.handle(event, performance.now())) this.#execute(action);
  }

  #execute(action: ClientSessionAction): void {
    switch (action.type) {
      case "send":
        return this.#transmit(action.message);
      case "deliver":
        return this.#options.handlers.onMessage(action.message);
      case "activated":
        this.#wasActive = true;
        this.#failures = 0;
        this.#told = "";
        clearTimeout(this.#absence);
        return this.#options.handlers.onActive(action.welcome);
      case "lost":
        return this.#lost(action);
    }
  }

  #lost({ reason, retryAfterMs }: ClientSessionAction & { readonly type: "lost" }): void {
    const wasActive = this.#wasActive;
    this.#wasActive = false;
    this.#socket?.close("abandon");
    this.#socket = undefined;
    if (wasActive) this.#watchAbsence();
    else this.#failures++;
    const waitMs = Math.max(reopenMs(this.#failures, Math.random()), Math.min(retryAfterMs, RETRY_AFTER_MS_MAX));
    this.#reopening = setTimeout(() => this.#open(), waitMs);
    if (wasActive) this.#options.handlers.onLost(reason);
    else this.#tell(reason);
  }

  #watchAbsence(): void {
    this.#absence = setTimeout(() => {
      // A refusal says more, and has been told.
      if (this.#told === "") this.#tell(`no broker at ${this.#options.address} yet`);
    }, TELL_AFTER_MS);
  }

  #tell(fault: string): void {
    if (fault === this.#told) return;
    this.#told = fault;
    this.#options.onFault(fault);
  }

  #transmit(message: Message): void {
    this.#socket?.send(encodeMessage(message, { epoch: this.#epoch, seq: ++this.#seq }));
  }
}

/** How long to wait before the next socket, in ms, after that many failed attempts in a row; `random` is in 0..1. */
export function reopenMs(failures: number, random: number): number {
  const factor = 2 ** Math.min(failures, 16);
  const spread = Math.min(REOPEN_MS.spread * factor, BACK_OFF_MS_MAX / 2);
  return Math.min(REOPEN_MS.min * factor, BACK_OFF_MS_MAX / 2) + random * spread;
}

import type { Content, Message, MessageOf } from "./message.ts";
import { errorCodeOf } from "./error-code.ts";

/** How often an unanswered HELLO is repeated, in ms: a lost one costs little, and a broker that comes back is found at once. */
export const HELLO_EVERY_MS = 100;

/** Default interval of PING, in ms; any traffic counts as a sign of life. */
export const PING_EVERY_MS = 500;

/** A peer that was silent for this long is lost, in ms: four missed PINGs. */
export const LOST_AFTER_MS = 2_000;

/**
 * The session of a gateway or worker with one broker, seen from their side.
 *
 * - `connecting`: HELLO is repeated until WELCOME comes. Entered at the start and with each new socket. An ERROR ends it.
 * - `active`: WELCOME has come; data may flow. Left on silence, a gap in the sequence, an ERROR or a new epoch.
 * - `lost`: nothing that was sent counts any more; the owner closes the socket and opens a new one.
 * - `closed`: GOODBYE was sent; final.
 */
export type ClientSessionState = "connecting" | "active" | "lost" | "closed";

export type ClientSessionEvent =
  /** A new socket has been opened; also right after `lost`. */
  | { readonly type: "opened" }
  | { readonly type: "received"; readonly epoch: string; readonly seq: number; readonly message: Message }
  /** A message has come that is not known and need not be: it counts, and is ignored. */
  | { readonly type: "skipped"; readonly epoch: string; readonly seq: number }
  /** A message has come that had to be understood and cannot be read. */
  | { readonly type: "unreadable"; readonly reason: string }
  /** The transport has seen the connection go. */
  | { readonly type: "disconnected" }
  | { readonly type: "tick" }
  | { readonly type: "goodbye"; readonly reason: string };

export type ClientSessionAction =
  | { readonly type: "send"; readonly message: Message }
  | { readonly type: "activated"; readonly welcome: Content<"WELCOME"> }
  /** A message of an active session that is not the session's own business. */
  | { readonly type: "deliver"; readonly message: Message }
  /** `retryAfterMs`: the broker asks not to come back earlier; 0 = not said. */
  | { readonly type: "lost"; readonly reason: string; readonly retryAfterMs: number };

/** The load that a PING carries, without its number. */
export type Load = Omit<Content<"PING">, "ping">;

export type ClientSessionOptions = {
  readonly hello: Content<"HELLO">;
  readonly load: () => Load;
};

/** A pure state machine `(event, now) → actions`: no clock, no I/O, no randomness. Actions are to be executed in order. */
export class ClientSession {
  state: ClientSessionState = "connecting";
  readonly #options: ClientSessionOptions;
  #helloAtMs = -Infinity;
  #pingAtMs = -Infinity;
  #heardAtMs = 0;
  #pings = 0;
  #brokerEpoch = "";
  #brokerSeq = 0;
  #pingEveryMs = PING_EVERY_MS;
  #lostAfterMs = LOST_AFTER_MS;

  constructor(options: ClientSessionOptions) {
    this.#options = options;
  }

  handle(event: ClientSessionEvent, nowMs: number): ClientSessionAction[] {
    switch (event.type) {
      case "opened":
        if (this.state === "closed") return [];
        this.state = "connecting";
        this.#brokerEpoch = "";
        this.#brokerSeq = 0;
        return this.#sendHello(nowMs);
      case "received":
        return this.#received(event, nowMs);
      case "skipped":
        return this.state === "active" ? this.#count(event, nowMs) : [];
      case "unreadable":
        return this.state === "active" || this.state === "connecting" ? this.#lose(event.reason) : [];
      case "disconnected":
        return this.state === "active" ? this.#lose("the connection to the broker is gone") : [];
      case "tick":
        return this.#tick(nowMs);
      case "goodbye": {
        const wasActive = this.state === "active";
        this.state = "closed";
        return wasActive ? [{ type: "send", message: { command: "GOODBYE", reason: event.reason, graceMs: 0 } }] : [];
      }
    }
  }

  #received(event: ClientSessionEvent & { type: "received" }, nowMs: number): ClientSessionAction[] {
    const { message } = event;
    if (this.state === "lost" || this.state === "closed") return [];
    // Before the order is checked: a broker that has no session for us (any more) answers outside the sequence.
    if (message.command === "ERROR") return this.#lose(describeError(message), message.retryAfterMs);
    if (this.state === "connecting") {
      if (message.command !== "WELCOME") return [];
      this.state = "active";
      this.#brokerEpoch = event.epoch;
      this.#brokerSeq = event.seq;
      this.#heardAtMs = nowMs;
      this.#pingAtMs = nowMs;
      this.#pingEveryMs = message.pingIntervalMs || PING_EVERY_MS;
      this.#lostAfterMs = message.lostAfterMs || LOST_AFTER_MS;
      return [{ type: "activated", welcome: message }];
    }
    const lost = this.#count(event, nowMs);
    if (lost.length > 0) return lost;
    switch (message.command) {
      case "PING":
        return [{ type: "send", message: { command: "PONG", ping: message.ping, ...this.#options.load() } }];
      case "PONG":
      case "WELCOME":
        return [];
      case "GOODBYE":
        return this.#lose(`the broker said goodbye: ${message.reason}`);
      default:
        return [{ type: "deliver", message }];
    }
  }

  /** Checks that nothing is missing before a message of an active session. */
  #count(stamp: { readonly epoch: string; readonly seq: number }, nowMs: number): ClientSessionAction[] {
    if (stamp.epoch !== this.#brokerEpoch) return this.#lose("the broker was restarted");
    if (stamp.seq !== this.#brokerSeq + 1) return this.#lose("messages of the broker were lost");
    this.#brokerSeq = stamp.seq;
    this.#heardAtMs = nowMs;
    return [];
  }

  #tick(nowMs: number): ClientSessionAction[] {
    if (this.state === "connecting") {
      return nowMs - this.#helloAtMs >= HELLO_EVERY_MS ? this.#sendHello(nowMs) : [];
    }
    if (this.state !== "active") return [];
    const silenceMs = nowMs - this.#heardAtMs;
    if (silenceMs >= this.#lostAfterMs) return this.#lose(`the broker was silent for ${Math.round(silenceMs)} ms`);
    if (nowMs - this.#pingAtMs < this.#pingEveryMs) return [];
    this.#pingAtMs = nowMs;
    return [{ type: "send", message: { command: "PING", ping: ++this.#pings, ...this.#options.load() } }];
  }

  #sendHello(nowMs: number): ClientSessionAction[] {
    this.#helloAtMs = nowMs;
    return [{ type: "send", message: { command: "HELLO", ...this.#options.hello } }];
  }

  #lose(reason: string, retryAfterMs = 0): ClientSessionAction[] {
    this.state = "lost";
    return [{ type: "lost", reason, retryAfterMs }];
  }
}

function describeError(error: MessageOf<"ERROR">): string {
  return `the broker answered ${errorCodeOf(error.code)}: ${error.text}`;
}

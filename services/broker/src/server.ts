import { randomBytes } from "node:crypto";
import { performance } from "node:perf_hooks";
import { decodeMessage, encodeMessage } from "@millrace/protocol";
import { type Logger, OptionError } from "@millrace/runtime";
import { openRouter, type RouterHandlers, type RouterSocket } from "@millrace/transport";
import { type BrokerObserver, NO_OBSERVER } from "./metrics/observer.ts";
import { Broker, type BrokerOptions, type BrokerReport, type Side } from "./broker.ts";

/** How often silence is judged, in ms: fine against the 1.5 s after which it means something. */
const TICK_MS = 100;

export type BrokerServerOptions = Omit<BrokerOptions, "epoch"> & {
  /** `tcp://IPV4:PORT`; port 0 picks a free one. */
  readonly gatewayAddress: string;
  readonly workerAddress: string;
  readonly logger: Logger;
  /** Hears of what the core reports, as the log does. */
  readonly onReport?: (report: BrokerReport) => void;
};

/** The broker's shell: sockets and clock around the pure core. It executes actions and decides nothing. */
export class BrokerServer {
  readonly core: Broker;
  readonly #logger: Logger;
  readonly #observer: BrokerObserver;
  readonly #onReport: (report: BrokerReport) => void;
  readonly #epoch = randomBytes(8).toString("hex");
  readonly #sockets: Partial<Record<Side, RouterSocket>> = {};
  readonly #ticker: NodeJS.Timeout;
  #wake: NodeJS.Timeout | undefined;
  #onDrained: (() => void) | undefined;

  private constructor(options: BrokerServerOptions) {
    this.core = new Broker({ ...options, epoch: this.#epoch });
    this.#logger = options.logger;
    this.#observer = options.observer ?? NO_OBSERVER;
    this.#onReport = options.onReport ?? (() => {});
    this.#ticker = setInterval(() => {
      this.core.handle({ type: "tick" }, performance.now());
      this.#turn();
    }, TICK_MS);
  }

  /**
   * Binds both sides.
   * @throws {OptionError} that names the address which cannot be bound; nothing is left open then.
   */
  static async start(options: BrokerServerOptions): Promise<BrokerServer> {
    const server = new BrokerServer(options);
    try {
      await server.#bind("gateway", options.gatewayAddress);
      await server.#bind("worker", options.workerAddress);
    } catch (error) {
      await server.#close();
      throw error;
    }
    return server;
  }

  async #bind(side: Side, address: string): Promise<void> {
    try {
      this.#sockets[side] = await openRouter(address, this.#handlers(side));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new OptionError(`the broker cannot listen on ${address} for ${side}s: ${reason}`);
    }
  }

  address(side: Side): string {
    return this.#sockets[side]?.address ?? "";
  }

  /** Refuses what is new, waits until every request it has is answered, says goodbye and closes. */
  async drain(reason: string): Promise<void> {
    const drained = new Promise<void>((resolve) => (this.#onDrained = resolve));
    this.core.handle({ type: "drain", reason }, performance.now());
    this.#turn();
    await drained;
    await this.#close();
  }

  async #close(): Promise<void> {
    clearInterval(this.#ticker);
    clearTimeout(this.#wake);
    await Promise.all([this.#sockets.gateway?.close(), this.#sockets.worker?.close()]);
  }

  #handlers(side: Side): RouterHandlers {
    return {
      onMessage: (peer, frames) => {
        // Reading a message is part of the time that its requests are here.
        const nowMs = performance.now();
        const decoded = decodeMessage(frames);
        if (decoded.ok) {
          const { preamble, message } = decoded;
          this.core.handle({ type: "received", side, peer, stamp: preamble, message }, nowMs);
        } else if (decoded.answer !== undefined || decoded.seq > 0) {
          const { answer: code, fault, seq } = decoded;
          this.core.handle({ type: "unreadable", side, peer, code, fault, seq }, nowMs);
        } else {
          this.#observer.dropped("malformed");
          this.#logger.debug({ side, fault: decoded.fault }, "dropped a message that is not MRP/1");
        }
      },
      onGone: (peer) => {
        this.core.handle({ type: "gone", side, peer }, performance.now());
        // The transport may find a peer gone in the middle of a turn, in which nothing else would decide.
        setImmediate(() => this.#turn());
      },
      onTurnEnd: () => this.#turn(),
    };
  }

  #turn(): void {
    const nowMs = performance.now();
    this.core.decide(nowMs);
    for (const action of this.core.actions()) {
      if (action.type === "log") {
        this.#logger[action.level](action.fields, action.text);
        this.#onReport(action);
      } else {
        const frames = encodeMessage(action.message, { epoch: this.#epoch, seq: action.seq });
        this.#sockets[action.side]?.send(action.peer, frames);
      }
    }
    this.#observer.turnSent(performance.now());
    if (this.core.state === "drained") this.#onDrained?.();
    clearTimeout(this.#wake);
    const { wakeAtMs } = this.core;
    // The ticker bounds the wait; a timer is needed only for what is due before it. Rounded down: too early is asked again.
    if (wakeAtMs - nowMs < TICK_MS) this.#wake = setTimeout(() => this.#turn(), Math.floor(wakeAtMs - nowMs));
  }
}

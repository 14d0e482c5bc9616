import { performance } from "node:perf_hooks";
import { type Content, type Message, PING_EVERY_MS } from "@millrace/protocol";
import type { Logger } from "@millrace/runtime";
import { BrokerLink } from "@millrace/transport";
import { WHEEL_GRAIN_MS } from "./deadline-wheel.ts";
import type { Inference, InferenceAnswer, InferenceRequest } from "./inference.ts";
import { RouteTable } from "./model-table.ts";
import { type Ending, PendingTable } from "./pending.ts";

/** A broker that restarts is back well within this time, in ms: until then requests wait for it, afterwards they get 503. */
const BROKER_RETURN_MS = 3_000;

export type BrokerInferenceOptions = {
  /** `tcp://IP:PORT` of the broker's side for gateways. */
  readonly address: string;
  readonly instance: string;
  readonly logger: Logger;
  /** Called once: a broker has told its models for the first time. */
  readonly onReady: () => void;
  /** For tests: hold every turn's requests back for this long, in ms. */
  readonly testGatewayQueueMs: number;
};

/**
 * - `connecting`: no session; accepted requests wait, up to three seconds.
 * - `active`: requests flow.
 * - `moving`: the broker is shutting down: it finishes what it has; new requests wait for its successor.
 */
type LinkState = "connecting" | "active" | "moving";

/** Inference by way of a broker: the shell between the table of pending requests and the connection. */
export class BrokerInference implements Inference {
  readonly models = new RouteTable();
  readonly #pending = new PendingTable(this.models);
  readonly #options: BrokerInferenceOptions;
  readonly #link: BrokerLink;
  #state: LinkState = "connecting";
  #lostAtMs = performance.now();
  #hasRoutes = false;
  #wasReady = false;
  #flushQueued = false;
  #deadlineTimer: NodeJS.Timeout | undefined;
  #settleTimer: NodeJS.Timeout | undefined;

  constructor(options: BrokerInferenceOptions) {
    this.#options = options;
    this.#link = new BrokerLink({
      address: options.address,
      hello: hello(options.instance),
      load: () => ({
        queuedRows: this.#pending.size,
        runningBatches: 0,
        oldestMs: 0,
        progressAgeMs: 0,
        granted: [],
        dispatched: [],
      }),
      handlers: {
        onActive: ({ instance }) => this.#onActive(instance),
        onLost: (reason) => this.#onLost(reason),
        onMessage: (message) => this.#onMessage(message),
      },
      onFault: (reason) => options.logger.warn({ address: options.address, reason }, "trouble with the broker"),
    });
  }

  submit(request: InferenceRequest, onAnswer: (answer: InferenceAnswer) => void): number {
    const pending = this.#pending.add(request, onAnswer, performance.now());
    this.#deadlineTimer ??= setInterval(() => this.#expire(), WHEEL_GRAIN_MS);
    this.#queueFlush();
    return pending.number;
  }

  cancel(handle: number): void {
    const message = this.#pending.cancel(handle);
    if (message !== undefined) this.#link.send(message);
  }

  unreadyReason(): string {
    if (this.#state === "active") return this.#hasRoutes ? "" : "the broker has not told its models yet";
    return this.#state === "moving" ? "the broker is shutting down" : "no broker can be reached";
  }

  close(): void {
    clearInterval(this.#deadlineTimer);
    clearTimeout(this.#settleTimer);
    this.#link.close("the gateway is shutting down");
  }

  /** All requests that come up in one turn of the event loop leave together at its end; nothing waits longer. */
  #queueFlush(): void {
    if (this.#flushQueued) return;
    this.#flushQueued = true;
    const { testGatewayQueueMs } = this.#options;
    if (testGatewayQueueMs > 0) setTimeout(() => this.#flush(), testGatewayQueueMs);
    else setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#flushQueued = false;
    if (this.#state !== "active" || !this.#hasRoutes) return;
    const { submits, endings } = this.#pending.flush(performance.now());
    for (const submit of submits) this.#link.send(submit);
    this.#answer(endings);
  }

  #expire(): void {
    const nowMs = performance.now();
    const { endings, cancels } = this.#pending.expire(nowMs);
    for (const cancel of cancels) this.#link.send(cancel);
    this.#answer(endings);
    if (this.#state !== "active" && nowMs - this.#lostAtMs > BROKER_RETURN_MS && this.#pending.hasUnsent) {
      this.#answer(this.#pending.refuseUnsent(this.unreadyReason()));
    }
    if (this.#pending.size === 0) {
      clearInterval(this.#deadlineTimer);
      this.#deadlineTimer = undefined;
    }
  }

  #onActive(instance: string): void {
    this.#state = "active";
    this.#hasRoutes = false;
    this.#options.logger.info({ broker: instance }, "connected to the broker");
    // Its workers come back one by one, as this gateway has.
    this.#settleTimer = setTimeout(() => {
      this.models.settle();
      this.#queueFlush();
    }, BROKER_RETURN_MS);
  }

  #onLost(reason: string): void {
    const nowMs = performance.now();
    this.#options.logger.warn({ reason, open: this.#pending.size }, "lost the broker");
    if (this.#state === "active") this.#lostAtMs = nowMs;
    this.#state = "connecting";
    clearTimeout(this.#settleTimer);
    this.models.remember();
    this.#pending.sessionLost(nowMs);
  }

  #onMessage(message: Message): void {
    const nowMs = performance.now();
    switch (message.command) {
      case "RESULT":
        return this.#answer(this.#pending.result(message, nowMs));
      case "REJECT":
        return this.#answer(this.#pending.reject(message.items, nowMs));
      case "ROUTES":
        this.models.replace(message.models);
        this.#hasRoutes = true;
        if (!this.#wasReady) this.#options.onReady();
        this.#wasReady = true;
        return this.#queueFlush();
      case "DRAIN":
        this.#state = "moving";
        this.#lostAtMs = nowMs;
        return;
      default:
        this.#options.logger.warn({ command: message.command }, "the broker sent a command that gateways do not take");
    }
  }

  #answer(endings: readonly Ending[]): void {
    for (const { pending, answer } of endings) pending.onAnswer(answer);
  }
}

function hello(instance: string): Content<"HELLO"> {
  const none = { slots: 0, bytesMax: 0, features: [], proof: Buffer.alloc(0) };
  return { role: "gateway", instance, pool: "", pingIntervalMs: PING_EVERY_MS, ...none };
}

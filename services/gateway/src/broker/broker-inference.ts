import { performance } from "node:perf_hooks";
import {
  type Content,
  ERROR_CODES,
  type Message,
  type MessageOf,
  type ModelTotals,
  PING_EVERY_MS,
} from "@millrace/protocol";
import type { LinkMetrics, Logger } from "@millrace/runtime";
import { BrokerLinks, type BrokerLinksOptions } from "@millrace/transport";
import { BROKER_RETURN_MS } from "./broker-wait.ts";
import { WHEEL_GRAIN_MS } from "./deadline-wheel.ts";
import type { Inference, InferenceAnswer, InferenceRequest } from "./inference.ts";
import { RouteTable } from "./model-table.ts";
import { type Ending, PendingTable } from "./pending.ts";
import { type RetryBound, RetryBudget } from "./retry-budget.ts";
import { SharedQuestion } from "./shared-question.ts";
import { TotalsDesk } from "./totals-desk.ts";

/** How often brokers are asked for their totals although nobody wants them: what one has counted since is lost with it. In ms. */
const TOTALS_EVERY_MS = 1_000;

/** How long an answer with totals is waited for, in ms. */
const TOTALS_WAIT_MS = 1_000;

export type BrokerInferenceOptions = Pick<BrokerLinksOptions, "brokers" | "discoveryIntervalMs" | "dnsServers"> & {
  readonly instance: string;
  readonly logger: Logger;
  /** Called once: a broker has told its models for the first time. */
  readonly onReady: () => void;
  /** For tests: hold every turn's requests back for this long, in ms. */
  readonly testGatewayQueueMs: number;
  /** Bounds what is sent again. */
  readonly retries: RetryBound;
  /** Counts the sessions with brokers. */
  readonly linkMetrics: Pick<LinkMetrics, "opened" | "lost" | "givenUp">;
};

/** So many that come up in one turn leave before its end: they can run while more is read. */
const SUBMIT_REQUESTS = 32;

/**
 * Inference by way of brokers: the shell between the table of pending requests and the connections. All workers serve all
 * brokers, so any broker will do; new requests go to the one in use, and one that drains still answers what it has.
 */
export class BrokerInference implements Inference {
  /** What the broker in use serves. */
  readonly models = new RouteTable();
  readonly #pending: PendingTable;
  readonly #options: BrokerInferenceOptions;
  readonly #links: BrokerLinks;
  /** What each broker with an open session has told last. */
  readonly #routes = new Map<string, MessageOf<"ROUTES">["models"]>();
  /** Since when no broker takes new requests; these wait for one, as long as `brokerWaitMs` says. */
  #bereftAtMs = performance.now();
  /** Where new requests went last. */
  #used = "";
  #wasReady = false;
  #flushQueued = false;
  /** Requests since the last flush. */
  #unflushed = 0;
  #deadlineTimer: NodeJS.Timeout | undefined;
  readonly #totals = new TotalsDesk();
  /** Of clients, who may be as many as they like: an answer may be a thousand entries. */
  readonly #readers = new SharedQuestion<readonly ModelTotals[]>((onTotals) => this.#askTotals(onTotals));
  /** The brokers with an open session that count. */
  readonly #counting = new Set<string>();
  readonly #totalsTimer = setInterval(() => this.#askTotals(() => {}), TOTALS_EVERY_MS).unref();
  #settleTimer: NodeJS.Timeout | undefined;

  constructor(options: BrokerInferenceOptions) {
    this.#options = options;
    this.#pending = new PendingTable(this.models, new RetryBudget(options.retries));
    const { brokers, discoveryIntervalMs, dnsServers, logger } = options;
    this.#links = new BrokerLinks({
      brokers,
      discoveryIntervalMs,
      dnsServers,
      hello: hello(options.instance),
      load: () => ({
        queuedRows: this.#pending.rows,
        runningBatches: 0,
        oldestMs: 0,
        progressAgeMs: 0,
        granted: [],
        dispatched: [],
      }),
      handlers: {
        onActive: (broker, { instance, features }) => {
          options.linkMetrics.opened(broker);
          if (features.includes("totals")) this.#counting.add(broker);
          // A broker that has come anew hears at once what its predecessor had counted.
          this.#askTotals(() => {});
          logger.info({ broker: instance, address: broker }, "connected to the broker");
        },
        onLost: (broker, reason) => this.#onLost(broker, reason),
        onGivenUp: (broker) => options.linkMetrics.givenUp(broker),
        onMessage: (broker, message) => this.#onMessage(broker, message),
        onUse: (broker) => this.#onUse(broker),
      },
      logger,
    });
  }

  /** The connections to brokers, for metrics. */
  get links(): BrokerLinks {
    return this.#links;
  }

  submit(request: InferenceRequest, onAnswer: (answer: InferenceAnswer) => void): number {
    if (this.#unflushed >= SUBMIT_REQUESTS) this.#flush();
    this.#unflushed++;
    const pending = this.#pending.add(request, onAnswer, performance.now());
    this.#deadlineTimer ??= setInterval(() => this.#expire(), WHEEL_GRAIN_MS);
    this.#queueFlush();
    return pending.number;
  }

  cancel(handle: number): void {
    const cancellation = this.#pending.cancel(handle);
    if (cancellation !== undefined) this.#links.send(cancellation.broker, cancellation.message);
  }

  readTotals(onTotals: Parameters<Inference["readTotals"]>[0]): void {
    this.#readers.ask(onTotals);
  }

  #askTotals(onTotals: Parameters<Inference["readTotals"]>[0]): void {
    const brokers = [...this.#counting];
    const ask = this.#totals.ask(brokers, onTotals);
    const message = this.#totals.message(ask, Date.now());
    const unsent = brokers.filter((broker) => !this.#links.send(broker, message));
    if (unsent.length === brokers.length) return this.#totals.giveUp(ask);
    setTimeout(() => this.#totals.giveUp(ask), TOTALS_WAIT_MS).unref();
  }

  unreadyReason(): string {
    const broker = this.#links.inUse;
    if (broker !== undefined) return this.#routes.has(broker) ? "" : "the broker has not told its models yet";
    return this.#links.isDraining ? "the broker is shutting down" : "no broker can be reached";
  }

  close(): void {
    clearInterval(this.#deadlineTimer);
    clearInterval(this.#totalsTimer);
    clearTimeout(this.#settleTimer);
    this.#links.close("the gateway is shutting down");
  }

  /** Requests that come up in one turn of the event loop leave together, many of them before its end. */
  #queueFlush(): void {
    if (this.#flushQueued) return;
    this.#flushQueued = true;
    const { testGatewayQueueMs } = this.#options;
    const flush = (): void => {
      this.#flushQueued = false;
      this.#flush();
    };
    if (testGatewayQueueMs > 0) setTimeout(flush, testGatewayQueueMs);
    else setImmediate(flush);
  }

  #flush(): void {
    this.#unflushed = 0;
    const broker = this.#links.inUse;
    if (broker === undefined || !this.#routes.has(broker)) return;
    const { submits, endings } = this.#pending.flush(broker, performance.now());
    for (const submit of submits) this.#links.send(broker, submit);
    this.#answer(endings);
  }

  #expire(): void {
    const nowMs = performance.now();
    const { endings, cancels } = this.#pending.expire(nowMs);
    for (const { broker, message } of cancels) this.#links.send(broker, message);
    this.#answer(endings);
    const outageMs = this.#links.inUse === undefined ? nowMs - this.#bereftAtMs : 0;
    if (outageMs > BROKER_RETURN_MS && this.#pending.hasUnsent)
      this.#answer(this.#pending.refuseUnsent(outageMs, this.unreadyReason()));
    if (this.#pending.size === 0) {
      clearInterval(this.#deadlineTimer);
      this.#deadlineTimer = undefined;
    }
  }

  /** New requests go to another broker from now on, or wait for one. What another broker has stays there. */
  #onUse(broker: string | undefined): void {
    this.models.remember();
    clearTimeout(this.#settleTimer);
    if (broker === undefined) {
      this.#bereftAtMs = performance.now();
      return;
    }
    const before = this.#routes.get(this.#used);
    // Where its session is open, nothing else in the log tells why it was left.
    const why = before === undefined || isServing(before) ? {} : { reason: `${this.#used} has no workers` };
    this.#used = broker;
    this.#options.logger.info({ address: broker, ...why }, "requests go to this broker");
    this.#takeRoutes(broker);
    // Its workers come one by one, as this gateway has.
    this.#settleTimer = setTimeout(() => {
      this.models.settle();
      this.#queueFlush();
    }, BROKER_RETURN_MS);
  }

  #onLost(broker: string, reason: string): void {
    this.#options.linkMetrics.lost(broker);
    this.#routes.delete(broker);
    this.#counting.delete(broker);
    this.#totals.lost(broker);
    const refused = this.#pending.sessionLost(broker, performance.now());
    const counts = { open: this.#pending.size, refused: refused.length };
    this.#options.logger.warn({ address: broker, reason, ...counts }, "lost the broker");
    this.#answer(refused);
    this.#queueFlush();
  }

  #onMessage(broker: string, message: Message): void {
    const nowMs = performance.now();
    switch (message.command) {
      case "RESULT":
        return this.#answer(this.#pending.result(message, nowMs));
      case "REJECT":
        this.#answer(this.#pending.reject(message.items, nowMs));
        // What a broker hands back goes to its successor.
        return this.#queueFlush();
      case "ROUTES":
        this.#routes.set(broker, message.models);
        this.#takeRoutes(broker);
        return this.#links.told(broker, isServing(message.models));
      case "TOTALS":
        return this.#totals.told(broker, message, Date.now());
      case "DRAIN":
        return;
      default:
        this.#options.logger.warn({ command: message.command }, "the broker sent a command that gateways do not take");
    }
  }

  /** The list of the broker in use is the one that counts. */
  #takeRoutes(broker: string): void {
    const models = this.#routes.get(broker);
    if (models === undefined || broker !== this.#links.inUse) return;
    this.models.replace(models);
    if (!this.#wasReady) this.#options.onReady();
    this.#wasReady = true;
    this.#queueFlush();
  }

  /** One answer that somebody throws at must not take along the others of its message; whoever has not passed it on hears `internal`. */
  #answer(endings: readonly Ending[]): void {
    for (const { pending, answer } of endings) {
      try {
        pending.onAnswer(answer);
      } catch (error) {
        this.#onDefect(pending, answer, error);
      }
    }
  }

  #onDefect({ request, onAnswer }: Ending["pending"], { stages }: InferenceAnswer, error: unknown): void {
    const { logger } = this.#options;
    const id = { "http.request.id": request.requestId };
    logger.error({ ...id, error }, "an answer met a defect");
    const message = ERROR_CODES.internal.meaning;
    try {
      onAnswer({ ok: false, code: "internal", message, retryAfterMs: 0, stages });
    } catch (again) {
      logger.error({ ...id, error: again }, "a request is left without an answer, by a defect");
    }
  }
}

function isServing(models: MessageOf<"ROUTES">["models"]): boolean {
  return models.some(({ workers }) => workers > 0);
}

function hello(instance: string): Content<"HELLO"> {
  const none = { slots: 0, bytesMax: 0, features: ["totals"], proof: Buffer.alloc(0) };
  return { role: "gateway", instance, pool: "", pingIntervalMs: PING_EVERY_MS, ...none };
}

import { isIPv4 } from "node:net";
import type { HttpAnswer } from "./http-answer-reader.ts";
import { LatencyHistogram, type LatencySummary } from "./latency-histogram.ts";
import { Lane, type LaneOwner, type LoadRequest, type LoadTarget } from "./load-lane.ts";
import { hasWayOut } from "./way-out.ts";

/** Where requests come from and answers go; `Context` ties the two together. */
export type LoadSource<Context> = {
  /** The next request, or undefined: there are no more. */
  next(): LoadRequest<Context> | undefined;
  /** Hears of every answer, whatever its status; the answer is borrowed. */
  onAnswer(context: Context, answer: HttpAnswer): void;
};

export type LoadOptions<Context> = {
  /**
   * Each `http://127.x.y.z:PORT`: load goes to this machine only. (To any IPv4 address where the network of this process has no
   * way out.) Connections are spread over them.
   */
  readonly urls: readonly string[];
  readonly connections: number;
  /** No request starts later than this; infinite by default, and then the source must end. */
  readonly durationMs?: number;
  /** How long a connection rests between an answer and its next request, in milliseconds. Default 0. */
  readonly thinkMs?: number;
  /** An answer that takes longer is a fault, and its connection is closed. Default 30 s. */
  readonly answerTimeoutMs?: number;
  readonly source: LoadSource<Context>;
  /** Ends the load early: what is under way is still awaited. */
  readonly signal?: AbortSignal;
};

/** Plain data, so that it can cross to another process. */
export type LoadResult = {
  readonly answers: number;
  /** From the first request to the last answer. */
  readonly elapsedMs: number;
  readonly latencyMs: LatencySummary;
  /** Requests without an answer that counts, and answers without a request, by kind. */
  readonly faults: number;
  readonly firstFaults: readonly string[];
  /** Connections that were opened beyond the first of each lane. */
  readonly reconnects: number;
};

const ANSWER_TIMEOUT_MS = 30_000;
const CHECK_EVERY_MS = 250;
/** With more faults than this the load ends: something is wrong beyond what a number can tell. */
const FAULTS_MAX = 1_000;
const FAULTS_KEPT = 10;

/** Where to connect to; throws unless it is a loopback address, given as such, or cannot be elsewhere than on this machine. */
export function loadTarget(url: string, { canLeave }: { readonly canLeave: boolean }): LoadTarget {
  const { protocol, hostname, port } = new URL(url);
  const isHere = isIPv4(hostname) && (hostname.startsWith("127.") || !canLeave);
  if (protocol !== "http:" || !isHere || port === "") {
    throw new RangeError(`load goes to http://127.x.y.z:PORT only, not to ${url}`);
  }
  return { host: hostname, port: Number(port) };
}

/** The bytes of a POST, for a connection that is kept alive. */
export function toPostBytes(
  path: string,
  body: string | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Buffer {
  const more = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${more.join("")}Content-Type: application/json\r\nContent-Length: `;
  const start = `${head}${Buffer.byteLength(body)}\r\n\r\n`;
  return typeof body === "string" ? Buffer.from(start + body) : Buffer.concat([Buffer.from(start), body]);
}

/**
 * Drives a closed loop: each of N keep-alive connections sends its next request when it has its answer. Raw sockets and a
 * small strict reader, because it shares the processors with what it measures.
 *
 * Resolves when the source has ended, the time is over or the signal is aborted, and every answer has come or was given up.
 * @throws RangeError for an address that `urls` does not allow.
 */
export async function runLoad<Context>(options: LoadOptions<Context>): Promise<LoadResult> {
  const canLeave = hasWayOut();
  const targets = options.urls.map((url) => loadTarget(url, { canLeave }));
  const load = new Load(options, targets);
  return load.run();
}

class Load<Context> implements LaneOwner<Context> {
  readonly #options: LoadOptions<Context>;
  readonly #latency = new LatencyHistogram();
  readonly answerTimeoutMs: number;
  readonly #done = Promise.withResolvers<void>();
  readonly #firstFaults: string[] = [];
  readonly #lanes: Lane<Context>[];
  #isOpen = true;
  #faults = 0;
  #answers = 0;
  #lastAnswerMs = 0;
  #reconnects = 0;

  constructor(options: LoadOptions<Context>, targets: readonly LoadTarget[]) {
    this.#options = options;
    if (targets.length === 0) throw new RangeError("a load needs an address");
    this.answerTimeoutMs = options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS;
    this.#lanes = Array.from({ length: options.connections }, (_, i) => new Lane(this, targets[i % targets.length]!));
  }

  async run(): Promise<LoadResult> {
    const { signal, durationMs } = this.#options;
    // Not at once: it may be the source that aborts, in the middle of giving out a request.
    const stop = (): void => queueMicrotask(() => this.stop());
    if (signal?.aborted) this.stop();
    signal?.addEventListener("abort", stop, { once: true });
    const end = durationMs === undefined ? undefined : setTimeout(stop, durationMs);
    const check = setInterval(() => {
      for (const lane of this.#lanes) lane.checkTimeout();
    }, CHECK_EVERY_MS);
    const startedMs = performance.now();
    this.#lastAnswerMs = startedMs;
    for (const lane of this.#lanes) lane.open();
    this.onEnd();
    await this.#done.promise;
    clearTimeout(end);
    clearInterval(check);
    signal?.removeEventListener("abort", stop);
    return {
      answers: this.#answers,
      elapsedMs: this.#lastAnswerMs - startedMs,
      latencyMs: this.#latency.summary(),
      faults: this.#faults,
      firstFaults: this.#firstFaults,
      reconnects: this.#reconnects,
    };
  }

  /** No request starts any more. */
  stop(): void {
    this.#isOpen = false;
    for (const lane of this.#lanes) lane.endIfIdle();
  }

  onFree(lane: Lane<Context>, isFresh: boolean): void {
    const { thinkMs = 0, source } = this.#options;
    if (thinkMs > 0 && !isFresh && this.#isOpen) return lane.rest(thinkMs);
    const request = this.#isOpen ? source.next() : undefined;
    if (request !== undefined) {
      const nowMs = performance.now();
      return lane.send(request, nowMs, nowMs);
    }
    lane.end();
    if (this.#isOpen) this.stop();
  }

  onAnswer(context: Context, answer: HttpAnswer, fromMs: number): void {
    this.#lastAnswerMs = performance.now();
    this.#latency.record(this.#lastAnswerMs - fromMs);
    this.#answers += 1;
    this.#options.source.onAnswer(context, answer);
  }

  onFault(text: string): void {
    this.#faults += 1;
    if (this.#firstFaults.length < FAULTS_KEPT) this.#firstFaults.push(text);
    if (this.#faults === FAULTS_MAX) {
      this.#firstFaults.push("gave up: too many faults");
      this.stop();
    }
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  onReopen(): void {
    this.#reconnects += 1;
  }

  onEnd(): void {
    if (this.#lanes.every((lane) => lane.isEnded)) this.#done.resolve();
  }
}

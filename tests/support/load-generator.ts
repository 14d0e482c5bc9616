import { connect, isIPv4, type Socket } from "node:net";
import { type HttpAnswer, HttpAnswerReader } from "./http-answer-reader.ts";
import { LatencyHistogram, type LatencySummary } from "./latency-histogram.ts";
import { hasWayOut } from "./way-out.ts";

/** Where requests come from and answers go; `Context` ties the two together. */
export type LoadSource<Context> = {
  /** The next request, or undefined: there are no more. The bytes are borrowed until the answer. */
  next(): { readonly bytes: Uint8Array; readonly context: Context } | undefined;
  /** Hears of every answer, whatever its status; the body is borrowed. */
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
const RECONNECT_AFTER_MS = 20;
/** With more faults than this the load ends: something is wrong beyond what a number can tell. */
const FAULTS_MAX = 1_000;
const FAULTS_KEPT = 10;

type Target = { readonly host: string; readonly port: number };

/** Where to connect to; throws unless it is a loopback address, given as such, or cannot be elsewhere than on this machine. */
export function loadTarget(url: string, { canLeave }: { readonly canLeave: boolean }): Target {
  const { protocol, hostname, port } = new URL(url);
  const isHere = isIPv4(hostname) && (hostname.startsWith("127.") || !canLeave);
  if (protocol !== "http:" || !isHere || port === "") {
    throw new RangeError(`load goes to http://127.x.y.z:PORT only, not to ${url}`);
  }
  return { host: hostname, port: Number(port) };
}

/** The bytes of a POST with a JSON body, for a connection that is kept alive. */
export function toPostBytes(path: string, body: string): Buffer {
  const head = `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: `;
  return Buffer.from(`${head}${Buffer.byteLength(body)}\r\n\r\n${body}`);
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

class Load<Context> {
  readonly options: LoadOptions<Context>;
  readonly latency = new LatencyHistogram();
  readonly answerTimeoutMs: number;
  readonly #done = Promise.withResolvers<void>();
  readonly #firstFaults: string[] = [];
  readonly #lanes: Lane<Context>[];
  #isOpen = true;
  #faults = 0;
  #answers = 0;
  #lastAnswerMs = 0;
  reconnects = 0;

  constructor(options: LoadOptions<Context>, targets: readonly Target[]) {
    this.options = options;
    if (targets.length === 0) throw new RangeError("a load needs an address");
    this.answerTimeoutMs = options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS;
    this.#lanes = Array.from({ length: options.connections }, (_, i) => new Lane(this, targets[i % targets.length]!));
  }

  async run(): Promise<LoadResult> {
    const { signal, durationMs } = this.options;
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
    this.laneEnded();
    await this.#done.promise;
    clearTimeout(end);
    clearInterval(check);
    signal?.removeEventListener("abort", stop);
    return {
      answers: this.#answers,
      elapsedMs: this.#lastAnswerMs - startedMs,
      latencyMs: this.latency.summary(),
      faults: this.#faults,
      firstFaults: this.#firstFaults,
      reconnects: this.reconnects,
    };
  }

  /** No request starts any more. */
  stop(): void {
    this.#isOpen = false;
    for (const lane of this.#lanes) lane.endIfIdle();
  }

  next(): { readonly bytes: Uint8Array; readonly context: Context } | undefined {
    const request = this.#isOpen ? this.options.source.next() : undefined;
    if (request === undefined && this.#isOpen) this.stop();
    return request;
  }

  answered(sentMs: number): void {
    this.#lastAnswerMs = performance.now();
    this.latency.record(this.#lastAnswerMs - sentMs);
    this.#answers += 1;
  }

  fault(text: string): void {
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

  laneEnded(): void {
    if (this.#lanes.every((lane) => lane.isEnded)) this.#done.resolve();
  }
}

/** One connection after another, one request in flight at most. */
class Lane<Context> {
  readonly #load: Load<Context>;
  readonly #target: Target;
  #socket: Socket | undefined;
  #reader = new HttpAnswerReader();
  #request: { readonly context: Context } | undefined;
  #sentMs = 0;
  isEnded = false;

  constructor(load: Load<Context>, target: Target) {
    this.#load = load;
    this.#target = target;
  }

  open(): void {
    if (!this.#load.isOpen) return this.#end();
    const socket = connect({ ...this.#target, noDelay: true });
    this.#socket = socket;
    this.#reader = new HttpAnswerReader();
    socket.on("connect", () => this.#send());
    socket.on("data", (chunk: Buffer) => {
      if (this.#socket === socket) this.#receive(chunk);
    });
    socket.on("error", (error) => this.#lost(socket, error.message));
    socket.on("close", () => this.#lost(socket, "the connection was closed"));
  }

  /** Ends a lane that waits for nothing. */
  endIfIdle(): void {
    if (this.#request === undefined) this.#end();
  }

  checkTimeout(): void {
    const waitedMs = performance.now() - this.#sentMs;
    if (this.#request === undefined || waitedMs < this.#load.answerTimeoutMs || this.#socket === undefined) return;
    this.#lost(this.#socket, `no answer within ${Math.round(waitedMs)} ms`);
  }

  #send(): void {
    const request = this.#load.next();
    if (request === undefined) return this.#end();
    this.#request = request;
    this.#reader.expect();
    this.#sentMs = performance.now();
    this.#socket?.write(request.bytes);
  }

  /** Sends later, on the same connection if it is still there. */
  #rest(ms: number): void {
    const socket = this.#socket;
    setTimeout(() => {
      if (!this.isEnded && this.#socket === socket) this.#send();
    }, ms);
  }

  #receive(chunk: Buffer): void {
    let answer: HttpAnswer | undefined;
    try {
      answer = this.#reader.push(chunk);
    } catch (error) {
      if (this.#socket !== undefined) this.#lost(this.#socket, String(error));
      return;
    }
    if (answer === undefined || this.#request === undefined) return;
    const { context } = this.#request;
    this.#request = undefined;
    this.#load.answered(this.#sentMs);
    this.#load.options.source.onAnswer(context, answer);
    const { thinkMs = 0 } = this.#load.options;
    if (/\r\nconnection: close/i.test(answer.head)) this.#reopen();
    else if (thinkMs === 0) this.#send();
    else this.#rest(thinkMs);
  }

  /** The connection is of no use any more; that is a fault where a request was under way or none was possible. */
  #lost(socket: Socket, reason: string): void {
    if (this.#socket !== socket || this.isEnded) return;
    const { remotePort } = socket;
    if (this.#request !== undefined) this.#load.fault(`${reason} (request under way)`);
    else if (reason !== "the connection was closed") this.#load.fault(`${reason} (port ${remotePort ?? "none"})`);
    this.#request = undefined;
    this.#reopen();
  }

  #reopen(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
    if (!this.#load.isOpen) return this.#end();
    this.#load.reconnects += 1;
    setTimeout(() => {
      if (!this.isEnded) this.open();
    }, RECONNECT_AFTER_MS);
  }

  #end(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.#socket?.destroy();
    this.#socket = undefined;
    this.#load.laneEnded();
  }
}

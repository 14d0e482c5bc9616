import { headerOf, type HttpAnswer } from "./http-answer-reader.ts";
import { LatencyHistogram } from "./latency-histogram.ts";
import { type LoadResult, type LoadSource, loadTarget } from "./load-generator.ts";
import { Lane, type LaneOwner, type LoadTarget } from "./load-lane.ts";
import { OpenLoopAccount, type OpenLoopReport } from "./open-loop-account.ts";
import { Pacer } from "./pacer.ts";
import { hasWayOut } from "./way-out.ts";

export type OpenLoopOptions<Context> = {
  /** As for `runLoad`. */
  readonly urls: readonly string[];
  /** Connections that are opened beforehand. A request that finds all of them taken waits for one, and its lag tells. */
  readonly connections: number;
  /** When requests leave, in milliseconds from the start, ascending. */
  readonly arrivalsMs: Float64Array;
  /** An answer is in time within this many milliseconds of when its request was due. */
  readonly deadlineMs: number;
  /** An answer that takes longer is a fault, and its connection is closed. Default 30 s. */
  readonly answerTimeoutMs?: number;
  /** Report stretches of that length, too. */
  readonly windowMs?: number;
  /** Must not end before the arrivals do. */
  readonly source: LoadSource<Context>;
  /** Ends the load early: what is under way is still awaited. */
  readonly signal?: AbortSignal;
  /** Called once, when the arrivals begin: all connections are open by then. */
  readonly onStart?: () => void;
};

export type OpenLoopResult = LoadResult & { readonly openLoop: OpenLoopReport };

const ANSWER_TIMEOUT_MS = 30_000;
const CHECK_EVERY_MS = 250;
const CONNECT_TIMEOUT_MS = 10_000;
/** From the start of the thread that paces to the first arrival. */
const LEAD_MS = 200;
const FAULTS_KEPT = 10;
/** Lanes that were taken from a list before it is cut. */
const FREE_TAKEN_MAX = 4_096;

/**
 * Drives an open loop: requests leave at their times whatever becomes of those before, and a latency counts from the time at
 * which the request was due. So a server that stalls is charged for every request that came meanwhile (no coordinated
 * omission), and so is a generator that is late; its lag is reported.
 *
 * Resolves when every request that was due has ended.
 * @throws RangeError for an address that `runLoad` does not allow; Error where the connections do not open.
 */
export async function runOpenLoad<Context>(options: OpenLoopOptions<Context>): Promise<OpenLoopResult> {
  const canLeave = hasWayOut();
  const load = new OpenLoad(
    options,
    options.urls.map((url) => loadTarget(url, { canLeave })),
  );
  return load.run();
}

class OpenLoad<Context> implements LaneOwner<Context> {
  readonly answerTimeoutMs: number;
  readonly #options: OpenLoopOptions<Context>;
  readonly #lanes: Lane<Context>[];
  readonly #account: OpenLoopAccount;
  readonly #latency = new LatencyHistogram();
  readonly #connected = Promise.withResolvers<void>();
  readonly #done = Promise.withResolvers<void>();
  readonly #firstFaults: string[] = [];
  /** What is due, what has left and what has ended of the arrivals: counts. */
  #due = 0;
  #left = 0;
  #ended = 0;
  #planned: number;
  #startMs = 0;
  #lastAnswerMs = 0;
  /** Lanes from `#takenAt` on are free, the first for the longest time, but for those that were lost since. */
  readonly #free: Lane<Context>[] = [];
  #takenAt = 0;
  #opened = 0;
  #answers = 0;
  #faults = 0;
  #reconnects = 0;
  #isOpen = true;

  constructor(options: OpenLoopOptions<Context>, targets: readonly LoadTarget[]) {
    if (targets.length === 0) throw new RangeError("a load needs an address");
    this.#options = options;
    this.answerTimeoutMs = options.answerTimeoutMs ?? ANSWER_TIMEOUT_MS;
    this.#account = new OpenLoopAccount(options.deadlineMs, options.windowMs);
    this.#planned = options.arrivalsMs.length;
    this.#lanes = Array.from({ length: options.connections }, (_, i) => new Lane(this, targets[i % targets.length]!));
  }

  async run(): Promise<OpenLoopResult> {
    const { arrivalsMs, signal, onStart } = this.#options;
    const giveUp = (): void => this.#connected.reject(new Error(`no connections: ${this.#firstFaults.join("; ")}`));
    const timer = setTimeout(giveUp, CONNECT_TIMEOUT_MS);
    for (const lane of this.#lanes) lane.open();
    await this.#connected.promise.finally(() => clearTimeout(timer));
    const stop = (): void => this.#stop();
    signal?.addEventListener("abort", stop, { once: true });
    const check = setInterval(() => {
      for (const lane of this.#lanes) lane.checkTimeout();
      if (performance.now() > lastMs + this.answerTimeoutMs) this.#stop();
    }, CHECK_EVERY_MS);
    this.#startMs = performance.now() + LEAD_MS;
    if (onStart !== undefined) setTimeout(onStart, LEAD_MS);
    const lastMs = this.#startMs + (arrivalsMs.at(-1) ?? 0);
    const pacer = new Pacer(arrivalsMs, this.#startMs, (due) => {
      this.#due = Math.min(due, this.#planned);
      this.#send();
    });
    if (signal?.aborted === true || this.#planned === 0) this.#stop();
    await this.#done.promise;
    await pacer.stop();
    clearInterval(check);
    signal?.removeEventListener("abort", stop);
    this.#isOpen = false;
    for (const lane of this.#lanes) lane.end();
    return {
      answers: this.#answers,
      elapsedMs: this.#lastAnswerMs - this.#startMs,
      latencyMs: this.#latency.summary(),
      faults: this.#faults,
      firstFaults: this.#firstFaults,
      reconnects: this.#reconnects,
      openLoop: this.#account.report(arrivalsMs.length),
    };
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  onFree(lane: Lane<Context>, isFresh: boolean): void {
    if (isFresh) this.#opened += 1;
    if (this.#opened === this.#lanes.length) this.#connected.resolve();
    if (this.#takenAt > FREE_TAKEN_MAX) {
      this.#free.splice(0, this.#takenAt);
      this.#takenAt = 0;
    }
    // One that was lost while it was free is still there.
    if (!isFresh || !this.#free.includes(lane, this.#takenAt)) this.#free.push(lane);
    this.#send();
  }

  onAnswer(context: Context, answer: HttpAnswer, dueMs: number): void {
    this.#lastAnswerMs = performance.now();
    const latencyMs = this.#lastAnswerMs - dueMs;
    this.#answers += 1;
    this.#latency.record(latencyMs);
    const waitedMs = answer.status === 200 ? undefined : waitedMsOf(answer);
    this.#account.ended({ dueMs: dueMs - this.#startMs, latencyMs, status: answer.status, waitedMs });
    this.#options.source.onAnswer(context, answer);
    this.#countEnd();
  }

  onFault(text: string, dueMs: number | undefined): void {
    this.#faults += 1;
    if (this.#firstFaults.length < FAULTS_KEPT) this.#firstFaults.push(text);
    if (dueMs === undefined) return;
    this.#account.ended({ dueMs: dueMs - this.#startMs, latencyMs: performance.now() - dueMs, status: undefined });
    this.#countEnd();
  }

  onReopen(): void {
    this.#reconnects += 1;
  }

  onEnd(): void {}

  /** Nothing leaves any more; what is due and found no connection has failed. */
  #stop(): void {
    for (let i = this.#left; i < this.#due; i++) {
      const dueMs = this.#options.arrivalsMs[i]!;
      this.#account.ended({ dueMs, latencyMs: performance.now() - this.#startMs - dueMs, status: undefined });
    }
    this.#planned = this.#due = this.#left;
    if (this.#ended === this.#left) this.#done.resolve();
  }

  /** Sends what is due, as far as there are free connections, which take turns. */
  #send(): void {
    while (this.#left < this.#due) {
      const lane = this.#takeFree();
      if (lane === undefined) return;
      const request = this.#options.source.next();
      if (request === undefined) return this.#stop();
      const dueMs = this.#startMs + this.#options.arrivalsMs[this.#left]!;
      this.#left += 1;
      const nowMs = performance.now();
      this.#account.sent(Math.max(0, nowMs - dueMs));
      lane.send(request, nowMs, dueMs);
    }
  }

  /** The lane that has been free for the longest time. */
  #takeFree(): Lane<Context> | undefined {
    while (this.#takenAt < this.#free.length) {
      const lane = this.#free[this.#takenAt++]!;
      if (lane.isFree) return lane;
    }
    return undefined;
  }

  #countEnd(): void {
    this.#ended += 1;
    if (this.#ended === this.#planned) this.#done.resolve();
  }
}

/** How long a request had waited when it was given up, in ms, as far as the answer tells: queue and attempts before. */
function waitedMsOf({ head }: HttpAnswer): number | undefined {
  const timing = headerOf(head, "server-timing");
  const stage = (name: string): number => Number(new RegExp(`(?:^|, )${name};dur=([\\d.]+)`).exec(timing)?.[1] ?? 0);
  return timing === "" ? undefined : stage("broker_queue") + stage("retry");
}

import { connect, type Socket } from "node:net";
import { type HttpAnswer, HttpAnswerReader } from "./http-answer-reader.ts";

/** Where a lane connects to. */
export type LoadTarget = { readonly host: string; readonly port: number };

/** The bytes are borrowed until the answer; `context` comes back with it. */
export type LoadRequest<Context> = { readonly bytes: Uint8Array; readonly context: Context };

/** Who has lanes: it says what they send and hears what comes of it. */
export type LaneOwner<Context> = {
  /** Whether lanes still open connections. */
  readonly isOpen: boolean;
  /** An answer that takes longer is a fault. */
  readonly answerTimeoutMs: number;
  /** The lane is connected and waits for `send` or `end`; `isFresh`: its connection is new. */
  onFree(lane: Lane<Context>, isFresh: boolean): void;
  /** `fromMs` is that of `send`; the answer is borrowed. */
  onAnswer(context: Context, answer: HttpAnswer, fromMs: number): void;
  /** Something went wrong; where a request was under way, since `fromMs`, it has no answer that counts. */
  onFault(text: string, fromMs: number | undefined): void;
  onReopen(): void;
  onEnd(): void;
};

const RECONNECT_AFTER_MS = 20;

/** What sockets read into, each until its bytes were looked at: a buffer for each read would cost more than reading. */
const RECEIVED = Buffer.allocUnsafeSlow(64 * 1024);

/** One connection after another, one request in flight at most. */
export class Lane<Context> {
  readonly #owner: LaneOwner<Context>;
  readonly #target: LoadTarget;
  #socket: Socket | undefined;
  #reader = new HttpAnswerReader();
  #request: LoadRequest<Context> | undefined;
  #isConnected = false;
  #sentMs = 0;
  #fromMs = 0;
  isEnded = false;

  constructor(owner: LaneOwner<Context>, target: LoadTarget) {
    this.#owner = owner;
    this.#target = target;
  }

  open(): void {
    if (!this.#owner.isOpen) return this.end();
    const onread = {
      buffer: RECEIVED,
      callback: (bytes: number): boolean => {
        if (this.#socket === socket) this.#receive(bytes);
        return true;
      },
    };
    const socket = connect({ ...this.#target, noDelay: true, onread });
    this.#socket = socket;
    this.#reader = new HttpAnswerReader();
    socket.on("connect", () => {
      if (this.#socket !== socket) return;
      this.#isConnected = true;
      this.#owner.onFree(this, true);
    });
    socket.on("error", (error) => this.#lost(socket, error.message));
    socket.on("close", () => this.#lost(socket, "the connection was closed"));
  }

  /** Whether it can send. */
  get isFree(): boolean {
    return this.#isConnected && this.#request === undefined && !this.isEnded;
  }

  /** Sends on a free lane. Times as performance.now() tells them: `nowMs`, and from when the owner counts how long the answer takes. */
  send(request: LoadRequest<Context>, nowMs: number, fromMs: number): void {
    this.#request = request;
    this.#reader.expect();
    this.#sentMs = nowMs;
    this.#fromMs = fromMs;
    this.#socket?.write(request.bytes);
  }

  /** Is free again after a while, unless its connection is lost before: then when it has another. */
  rest(ms: number): void {
    const socket = this.#socket;
    setTimeout(() => {
      if (this.isFree && this.#socket === socket) this.#owner.onFree(this, true);
    }, ms);
  }

  /** Ends a lane that waits for nothing. */
  endIfIdle(): void {
    if (this.#request === undefined) this.end();
  }

  end(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.#close();
    this.#owner.onEnd();
  }

  checkTimeout(): void {
    const waitedMs = performance.now() - this.#sentMs;
    if (this.#request === undefined || waitedMs < this.#owner.answerTimeoutMs || this.#socket === undefined) return;
    this.#lost(this.#socket, `no answer within ${Math.round(waitedMs)} ms`);
  }

  #receive(bytes: number): void {
    let answer: ReturnType<HttpAnswerReader["push"]>;
    try {
      answer = this.#reader.push(RECEIVED, bytes);
    } catch (error) {
      if (this.#socket !== undefined) this.#lost(this.#socket, String(error));
      return;
    }
    if (answer === undefined || this.#request === undefined) return;
    const { context } = this.#request;
    this.#request = undefined;
    const { isLast } = answer;
    if (isLast) this.#close();
    this.#owner.onAnswer(context, answer, this.#fromMs);
    if (isLast) this.#reopen();
    else this.#owner.onFree(this, false);
  }

  /** The connection is of no use any more; that is a fault where a request was under way or none was possible. */
  #lost(socket: Socket, reason: string): void {
    if (this.#socket !== socket || this.isEnded) return;
    const { remotePort } = socket;
    const request = this.#request;
    this.#request = undefined;
    this.#close();
    if (request !== undefined) this.#owner.onFault(`${reason} (request under way)`, this.#fromMs);
    else if (reason !== "the connection was closed") {
      this.#owner.onFault(`${reason} (port ${remotePort ?? "none"})`, undefined);
    }
    this.#reopen();
  }

  #close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
    this.#isConnected = false;
  }

  #reopen(): void {
    if (this.isEnded) return;
    if (!this.#owner.isOpen) return this.end();
    this.#owner.onReopen();
    setTimeout(() => {
      if (!this.isEnded) this.open();
    }, RECONNECT_AFTER_MS);
  }
}

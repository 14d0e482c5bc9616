import type { Stamp } from "@millrace/protocol";

/** A peer that was silent for this long gets nothing new, in ms: three PINGs are missing, which is no jitter. */
export const SUSPECT_AFTER_MS = 1_500;

/** A peer that was silent for this long is lost, in ms. */
export const DEAD_AFTER_MS = 3_000;

/**
 * The session of one connection, seen from the broker.
 *
 * - `active`: HELLO was answered. Entered from `suspect` by any traffic.
 * - `suspect`: silent for 1.5 s: it gets nothing new.
 * - `draining`: it has asked to be sent nothing new. Left by GOODBYE or loss.
 * - `gone`: final; whatever still comes from this connection is answered `not_registered`.
 */
export type PeerState = "active" | "suspect" | "draining" | "gone";

/** What gateway and worker sessions have in common: identity, order of messages, signs of life. */
export class PeerSession {
  readonly peer: string;
  readonly instance: string;
  readonly epoch: string;
  state: PeerState = "active";
  /** Whether it has said GOODBYE: that it is gone is no loss. */
  hasLeft = false;
  /** Whether another process was refused because this one has its name; said once in the log. */
  hasNamesake = false;
  #heardAtMs: number;
  #seqIn: number;
  #seqOut = 0;

  constructor(hello: { readonly peer: string; readonly instance: string; readonly stamp: Stamp }, nowMs: number) {
    this.peer = hello.peer;
    this.instance = hello.instance;
    this.epoch = hello.stamp.epoch;
    this.#seqIn = hello.stamp.seq;
    this.#heardAtMs = nowMs;
  }

  /** Notes a message; false if it belongs to another incarnation, or if messages before it were lost. */
  received(stamp: Stamp, nowMs: number): boolean {
    if (stamp.epoch !== this.epoch || stamp.seq !== this.#seqIn + 1) return false;
    this.#seqIn = stamp.seq;
    this.#heardAtMs = nowMs;
    if (this.state === "suspect") this.state = "active";
    return true;
  }

  /** Notes a message that a newer peer sent and that need not be understood; false if messages before it were lost. */
  skipped(seq: number, nowMs: number): boolean {
    return this.received({ epoch: this.epoch, seq }, nowMs);
  }

  /** A repeated HELLO of the same incarnation: the count goes on from it, since a HELLO may be lost before it is answered. */
  resumed(stamp: Stamp, nowMs: number): void {
    this.#seqIn = stamp.seq - 1;
    this.received(stamp, nowMs);
  }

  /** The number of the next message to this peer. */
  nextSeq(): number {
    return ++this.#seqOut;
  }

  get lastSeq(): number {
    return this.#seqOut;
  }

  /** Whether it has said nothing for so long that it may well be dead. */
  isSilent(nowMs: number): boolean {
    return nowMs - this.#heardAtMs >= SUSPECT_AFTER_MS;
  }

  /** Judges the silence; true when the peer is to be given up now. */
  isLost(nowMs: number): boolean {
    const silenceMs = nowMs - this.#heardAtMs;
    if (silenceMs >= DEAD_AFTER_MS) return true;
    if (silenceMs >= SUSPECT_AFTER_MS && this.state === "active") this.state = "suspect";
    return false;
  }
}

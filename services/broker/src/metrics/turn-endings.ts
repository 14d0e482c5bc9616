import type { Outcome } from "@millrace/protocol";

const LENGTH_MIN = 1024;

/** Where an ending is recorded. */
type Recorder = { end(outcome: Outcome, receivedMs: number, nowMs: number): void };

/**
 * The requests that end in a turn: their time here is over when all that the turn decided is with the sockets. Allocates nothing
 * but to grow.
 */
export class TurnEndings {
  readonly #recorders: Recorder[] = [];
  readonly #outcomes: Outcome[] = [];
  #receivedMs = new Float64Array(LENGTH_MIN);
  #length = 0;

  add(recorder: Recorder, outcome: Outcome, receivedMs: number): void {
    const at = this.#length++;
    if (at === this.#receivedMs.length) this.#grow();
    this.#recorders[at] = recorder;
    this.#outcomes[at] = outcome;
    this.#receivedMs[at] = receivedMs;
  }

  end(nowMs: number): void {
    for (let at = 0; at < this.#length; at++) {
      this.#recorders[at]!.end(this.#outcomes[at]!, this.#receivedMs[at]!, nowMs);
    }
    this.#length = 0;
  }

  #grow(): void {
    const grown = new Float64Array(this.#receivedMs.length * 2);
    grown.set(this.#receivedMs);
    this.#receivedMs = grown;
  }
}

/**
 * The account of one model among those that share slots: start-time fair queueing (Goyal, Vin, Cheng 1996) with compute time as cost,
 * the form of deficit round robin in which one who comes back after a rest is not behind those who never left. Virtual time is
 * the ms of compute that each share of 1 would have had. Over any time in which two models both wait, what they ran, each divided by its
 * share, differs by no more than their largest batches, each divided by its share, for every slot. O(1).
 */
export class FairShare {
  /** How far the models that it shares slots with have got, as far as it has seen. */
  #clockMs = 0;
  #startMs = 0;

  /** The virtual time at which its next batch would begin. */
  get startMs(): number {
    return this.#startMs;
  }

  /** It has something waiting again: what others had while it wanted nothing is theirs. */
  wakes(): void {
    this.#startMs = Math.max(this.#startMs, this.#clockMs);
  }

  /** It ran a batch that cost so much compute time. Returns its beginning, for `passed` of those that it shares the slot with. */
  ran(costMs: number, share: number): number {
    const startMs = this.#startMs;
    this.#startMs += costMs / share;
    return startMs;
  }

  /** The last batch cost more than was said, or less. */
  settle(differenceMs: number, share: number): void {
    this.#startMs += differenceMs / share;
  }

  /** A batch began then on a slot that this one could have had. */
  passed(startMs: number): void {
    this.#clockMs = Math.max(this.#clockMs, startMs);
  }

  /** Whether it would not be ahead of one that begins at `otherStartMs` even after a batch of this cost: then it is its turn. */
  isBehind(otherStartMs: number, costMs: number, share: number): boolean {
    return this.#startMs + costMs / share <= otherStartMs;
  }
}

import { type MessageOf, type ModelTotals, TotalsBook } from "@millrace/protocol";

type OnTotals = (totals: readonly ModelTotals[]) => void;

/** An ask that some brokers have not answered yet. */
type Ask = { readonly waiting: Set<string>; readonly onTotals: OnTotals };

/**
 * What brokers have counted, and who waits to hear of it. Each ask tells the broker what this gateway knows of others, so that a
 * broker that has taken over can tell it to gateways that do not. Pure: the shell sends the message, and calls `giveUp` in time.
 */
export class TotalsDesk {
  readonly #book = new TotalsBook();
  readonly #asks = new Map<number, Ask>();
  #count = 0;

  /** An ask of these brokers. `onTotals` is called once, by one of the methods below. */
  ask(brokers: readonly string[], onTotals: OnTotals): number {
    const number = ++this.#count;
    this.#asks.set(number, { waiting: new Set(brokers), onTotals });
    return number;
  }

  message(ask: number, nowMs: number): MessageOf<"TOTALS"> {
    return { command: "TOTALS", ask, entries: this.#book.entries(nowMs) };
  }

  told(broker: string, { ask, entries }: MessageOf<"TOTALS">, nowMs: number): void {
    this.#book.merge(entries, nowMs);
    this.#heard(broker, ask);
  }

  /** A broker will not answer any more. */
  lost(broker: string): void {
    for (const ask of this.#asks.keys()) this.#heard(broker, ask);
  }

  /** Answers with what is known. */
  giveUp(number: number): void {
    const ask = this.#asks.get(number);
    this.#asks.delete(number);
    ask?.onTotals(this.#book.sums());
  }

  #heard(broker: string, number: number): void {
    const ask = this.#asks.get(number);
    if (ask?.waiting.delete(broker) === true && ask.waiting.size === 0) this.giveUp(number);
  }
}

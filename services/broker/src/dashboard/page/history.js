/**
 * The samples that the page has, column by column, the oldest first; at most so many as the broker keeps.
 */
export class History {
  /** @type {Map<string, (number | null)[]>} */
  #columns = new Map();
  #capacity = 0;

  /**
   * Takes the whole from the broker in place of what was there.
   *
   * @param {Pick<import("../frames.ts").StartFrame, "columns" | "history" | "windowS">} frame
   */
  reset({ columns, history, windowS }) {
    this.#capacity = windowS;
    this.#columns = new Map(columns.map((name, i) => [name, [...(history[i] ?? [])]]));
  }

  /**
   * Adds the newest sample, in the order of the columns.
   *
   * @param {readonly (number | null)[]} sample
   */
  push(sample) {
    let at = 0;
    for (const values of this.#columns.values()) {
      values.push(sample[at++] ?? null);
      if (values.length > this.#capacity) values.shift();
    }
  }

  /**
   * @param {string} name
   * @returns {(number | null)[]}
   */
  column(name) {
    return this.#columns.get(name) ?? [];
  }

  /**
   * The newest value of a column.
   *
   * @param {string} name
   * @returns {number | null}
   */
  latest(name) {
    return this.column(name).at(-1) ?? null;
  }

  /** The end of the newest sample, in seconds of the broker's wall clock; 0 where there is none. */
  get nowS() {
    return this.latest("at") ?? 0;
  }

  /**
   * From when to when the charts reach. A broker that began lately fills them too, once it has a minute to show.
   *
   * @param {number} windowS
   * @returns {[number, number]}
   */
  range(windowS) {
    const first = this.column("at")[0] ?? this.nowS;
    const fromS = Math.max(this.nowS - windowS, Math.min(first, this.nowS - 60));
    return [fromS, this.nowS];
  }
}

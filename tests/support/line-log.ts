const TAIL_LINES = 60;

/** The lines that a process has written so far, and those to come. */
export class LineLog {
  readonly lines: string[] = [];
  readonly #waiting = new Set<() => void>();
  #over = "";

  /** Takes bytes of a stream; lines of several streams may mix, and do not break each other. */
  read(stream: NodeJS.ReadableStream | null): void {
    let rest = "";
    stream?.setEncoding("utf8");
    stream?.on("data", (text: string) => {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      this.lines.push(...parts);
      this.#wake();
    });
    stream?.on("end", () => {
      if (rest !== "") this.lines.push(rest);
      this.#wake();
    });
  }

  /** No line comes any more; whoever waits hears why. */
  end(reason: string): void {
    this.#over = reason;
    this.#wake();
  }

  /**
   * The first line that matches, at or after the index `from` (default 0), seen already or yet to come.
   * @throws Error with the last lines when there is none within `timeoutMs` (default 20 s) or the process has ended.
   */
  waitFor(pattern: RegExp, options: { readonly from?: number; readonly timeoutMs?: number } = {}): Promise<string> {
    const { from = 0, timeoutMs = 20_000 } = options;
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const fail = (reason: string): void => reject(new Error(`no line ${String(pattern)}: ${reason}\n${this.tail()}`));
    let at = from;
    const check = (): void => {
      for (; at < this.lines.length; at++) if (pattern.test(this.lines[at]!)) return resolve(this.lines[at]!);
      if (this.#over !== "") fail(this.#over);
    };
    const timer = setTimeout(() => fail(`waited ${timeoutMs} ms`), timeoutMs);
    this.#waiting.add(check);
    check();
    return promise.finally(() => {
      clearTimeout(timer);
      this.#waiting.delete(check);
    });
  }

  /** How many lines match. */
  count(pattern: RegExp): number {
    return this.lines.filter((line) => pattern.test(line)).length;
  }

  /** The last lines, for messages. */
  tail(lines: number = TAIL_LINES): string {
    return this.lines.slice(-lines).join("\n");
  }

  #wake(): void {
    for (const check of this.#waiting) check();
  }
}

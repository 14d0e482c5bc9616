/** Why to stop, and the exit code if the drain goes well. */
export type Stop = { readonly code: number; readonly reason: string };

/**
 * A signal that follows the first one within this time is the same keystroke: some npm versions pass on a Ctrl-C that
 * the terminal has delivered to the whole group already.
 */
const SAME_KEYSTROKE_MS = 250;

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** The one place where it is decided that the system stops. The first request counts; a later signal kills. */
export class StopRequest {
  readonly #requested = Promise.withResolvers<Stop>();
  readonly #abort = new AbortController();
  #signalledMs = Number.NEGATIVE_INFINITY;

  /** Resolves with the first request. */
  get requested(): Promise<Stop> {
    return this.#requested.promise;
  }

  /** Aborted with the first request. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  request(stop: Stop): void {
    if (this.signal.aborted) return;
    this.#requested.resolve(stop);
    this.#abort.abort(new Error(stop.reason));
  }

  /**
   * Turns signals of this process into requests. `kill` must end every child at once and synchronously; it is called
   * for a second signal, and whenever this process exits, so that nothing is left behind.
   */
  listen(kill: () => void): void {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(signal, () => {
        const nowMs = performance.now();
        const isRepeat = nowMs - this.#signalledMs < SAME_KEYSTROKE_MS;
        // Counted from the first of them, so that a key that is held down is heard.
        if (!isRepeat) this.#signalledMs = nowMs;
        if (this.signal.aborted && !isRepeat) process.exit(EXIT_CODES[signal]);
        this.request({ code: 0, reason: signal });
      });
    }
    process.on("exit", kill);
    // Without a reader the log is lost and nobody watches. Stdout only carries the ready lines: its reader may go.
    process.stderr.on("error", () => this.request({ code: 1, reason: "the log's reader is gone" }));
    process.stdout.on("error", () => {});
  }
}

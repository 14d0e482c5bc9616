import { tuneCollector } from "./collector.ts";
import { OptionError } from "./options.ts";

/**
 * - `starting`: from the start of the process; not ready, loads or connects.
 * - `ready`: from `becomeReady()`; does its work.
 * - `draining`: from `drain()`; takes nothing new and finishes what it has.
 * - `stopped`: every drain callback has ended; nothing is left to do.
 */
export type LifecycleState = "starting" | "ready" | "draining" | "stopped";

/** Ends one part of a process: stop taking, finish or give back what is held, then release. May be async. */
export type DrainCallback = (reason: string) => void | Promise<void>;

/** The life of one process. All changes of `state` go through its methods, in the order of `LifecycleState`. */
export class Lifecycle {
  #state: LifecycleState = "starting";
  readonly #callbacks: DrainCallback[] = [];
  readonly #failures: unknown[] = [];
  #drained: Promise<readonly unknown[]> | undefined;

  get state(): LifecycleState {
    return this.#state;
  }

  /** `starting` → `ready`. Once draining it does nothing: a drain that overtook the start wins. */
  becomeReady(): void {
    if (this.#state === "starting") this.#state = "ready";
  }

  /**
   * Registers what ends a part. Callbacks run one after another, the last registered first, as parts depend on the
   * ones that were made before them: register each part right after making it, the admin server first of all. One
   * that is registered during the drain runs at once.
   */
  onDrain(callback: DrainCallback): void {
    if (this.#state === "starting" || this.#state === "ready") this.#callbacks.push(callback);
    else void this.#run(callback, "already draining");
  }

  /**
   * Drains once; later calls get the same promise. Ends in `stopped` and resolves with what callbacks threw (a failed
   * callback does not stop the others). Never rejects.
   */
  drain(reason: string): Promise<readonly unknown[]> {
    this.#drained ??= this.#drainAll(reason);
    return this.#drained;
  }

  async #drainAll(reason: string): Promise<readonly unknown[]> {
    this.#state = "draining";
    for (const callback of this.#callbacks.toReversed()) await this.#run(callback, reason);
    this.#state = "stopped";
    return this.#failures;
  }

  async #run(callback: DrainCallback, reason: string): Promise<void> {
    try {
      await callback(reason);
    } catch (error) {
      this.#failures.push(error);
    }
  }
}

/** What of `process` is needed here; tests pass their own. */
export type ProcessHost = {
  on(event: string, listener: () => void): unknown;
  exit(code: number): unknown;
  readonly connected?: boolean | undefined;
  readonly send?: unknown;
};

export type RunUntilSignalOptions = {
  readonly lifecycle: Lifecycle;
  /** A pino logger, or the part of it that is used here. */
  readonly logger: {
    info(fields: object, message: string): void;
    error(fields: object, message: string): void;
  };
  /** How long the drain may last, in milliseconds; then the process exits with 1. */
  readonly drainGraceMs: number;
  /** What is still held, for the log when the drain does not end in time, e.g. "3 requests". */
  readonly left?: () => string;
  readonly host?: ProcessHost;
};

/**
 * Ties a lifecycle to the process: the first SIGTERM or SIGINT drains and then exits with 0 (1 if a drain callback
 * failed or the grace ran out); the second exits at once with 143 or 130. The loss of the supervisor's IPC channel
 * drains too, so that no orphan survives a killed parent. Call it early, before slow loading, so that a signal then
 * is heard; the promise resolves when the process is told to exit, which in a real process is never seen.
 */
export function runUntilSignal(options: RunUntilSignalOptions): Promise<void> {
  const { lifecycle, logger, drainGraceMs } = options;
  const host: ProcessHost = options.host ?? process;
  const { promise, resolve } = Promise.withResolvers<void>();
  const exit = (code: number): void => {
    host.exit(code);
    resolve();
  };

  const begin = async (reason: string): Promise<void> => {
    if (lifecycle.state === "draining" || lifecycle.state === "stopped") return;
    logger.info({ reason }, "draining");
    const timer = setTimeout(() => {
      logger.error({ reason, drainGraceMs, left: options.left?.() ?? "unknown" }, "drain took too long; exiting");
      exit(1);
    }, drainGraceMs);
    const failures = await lifecycle.drain(reason);
    clearTimeout(timer);
    for (const error of failures) logger.error({ error }, "a part failed to drain");
    logger.info({ reason }, "stopped");
    exit(failures.length > 0 ? 1 : 0);
  };

  const signalled = (signal: "SIGTERM" | "SIGINT", code: number): void => {
    if (lifecycle.state === "draining" || lifecycle.state === "stopped") exit(code);
    else void begin(signal);
  };
  host.on("SIGTERM", () => signalled("SIGTERM", 143));
  host.on("SIGINT", () => signalled("SIGINT", 130));
  host.on("disconnect", () => void begin("supervisor gone"));
  // The parent may have died before anyone listened.
  if (host.send !== undefined && host.connected === false) void begin("supervisor gone");
  return promise;
}

/**
 * Runs the `main` of a program: an `OptionError` is printed without a stack and exits with 2, anything else with its
 * stack and exits with 1. In a `main.ts`: `if (import.meta.main) await runMain(main);`
 */
export async function runMain(
  main: (argv: string[]) => Promise<void>,
  argv: string[] = process.argv.slice(2),
): Promise<void> {
  tuneCollector();
  try {
    await main(argv);
  } catch (error) {
    const isUsage = error instanceof OptionError;
    const text =
      error instanceof Error && !isUsage ? (error.stack ?? error.message) : String(isUsage ? error.message : error);
    process.stderr.write(`${text}\n`);
    process.exit(isUsage ? 2 : 1);
  }
}

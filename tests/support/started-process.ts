import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { isSupervisorMessage } from "@millrace/runtime";
import { LineLog } from "./line-log.ts";
import { findTree, killTree, TREE_VARIABLE, type TreeProcess } from "./process-tree.ts";
import { NODE, ROOT } from "./repository.ts";

/** Longer than any drain of a test may take. */
const EXIT_TIMEOUT_MS = 40_000;

export type ProcessExit = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

export type ProcessOptions = {
  /** The program and its arguments; paths are from the root of the repository. */
  readonly argv: readonly string[];
  /** Added to the environment, of which everything that starts with MILLRACE_ is left out first. */
  readonly env?: Readonly<Record<string, string>>;
};

/**
 * A program of this repository that runs under the Node of the lock file, with an IPC channel for its ready report. Leaving
 * its scope ends it and everything that it started, whatever state they are in.
 */
export class StartedProcess implements AsyncDisposable {
  /** What it writes, on stdout and stderr. */
  readonly log = new LineLog();
  readonly exited: Promise<ProcessExit>;
  readonly #child: ChildProcess;
  readonly #mark = randomUUID();
  readonly #ready = Promise.withResolvers<Readonly<Record<string, string>>>();

  constructor(options: ProcessOptions) {
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("MILLRACE_"));
    this.#child = spawn(NODE, options.argv, {
      cwd: ROOT,
      // A group of its own, so that a signal can be sent to it as a terminal does.
      detached: true,
      env: { ...Object.fromEntries(inherited), ...options.env, [TREE_VARIABLE]: this.#mark },
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    this.log.read(this.#child.stdout);
    this.log.read(this.#child.stderr);
    this.#child.on("message", (message) => {
      if (isSupervisorMessage(message)) this.#ready.resolve(message.addresses);
    });
    this.exited = new Promise((resolve) => {
      const over = (exit: ProcessExit, reason: string): void => {
        this.log.end(reason);
        this.#ready.reject(new Error(`${reason}\n${this.log.tail()}`));
        resolve(exit);
      };
      this.#child.on("close", (code, signal) => over({ code, signal }, `it ended with ${signal ?? code}`));
      this.#child.on("error", (error) => over({ code: null, signal: null }, error.message));
    });
    this.#ready.promise.catch(() => {});
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Where it listens, once it reports that it is ready over its IPC channel; rejects if it ends before. */
  get ready(): Promise<Readonly<Record<string, string>>> {
    return this.#ready.promise;
  }

  /** Every live process of its tree, itself included. */
  tree(): TreeProcess[] {
    return findTree(this.#mark);
  }

  /** Sends a signal to the process, or with `toGroup` to its whole group, as a terminal does. */
  signal(signal: NodeJS.Signals, options: { readonly toGroup?: boolean } = {}): void {
    if (this.pid !== 0) process.kill(options.toGroup ? -this.pid : this.pid, signal);
  }

  /** Waits for its end, bounded. */
  async awaitExit(timeoutMs: number = EXIT_TIMEOUT_MS): Promise<ProcessExit> {
    const timeout = Promise.withResolvers<never>();
    const fail = (): void => timeout.reject(new Error(`still runs after ${timeoutMs} ms\n${this.log.tail()}`));
    const timer = setTimeout(fail, timeoutMs);
    try {
      return await Promise.race([this.exited, timeout.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Stops it as a user does, by SIGINT, and asserts that it ends with code 0 and leaves no process behind.
   * @throws Error that says what went wrong, with the last lines of the log.
   */
  async stop(): Promise<void> {
    this.signal("SIGINT", { toGroup: true });
    const { code, signal } = await this.awaitExit();
    const left = this.tree();
    if (code === 0 && left.length === 0) return;
    const names = left.map(({ pid, name }) => `${name} (${pid})`).join(", ");
    throw new Error(`ended with ${signal ?? code}, left behind: ${names || "nothing"}\n${this.log.tail()}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await killTree(this.#mark);
    await this.exited;
  }
}

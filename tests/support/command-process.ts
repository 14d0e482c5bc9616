import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { LineLog } from "./line-log.ts";
import { findTree, killTree, TREE_VARIABLE, type TreeProcess } from "./process-tree.ts";
import { ROOT } from "./repository.ts";
import type { ProcessExit } from "./started-process.ts";

export type CommandOptions = {
  /** The program as the PATH finds it, and its arguments. */
  readonly argv: readonly [string, ...string[]];
  /** Added to the environment, of which everything that starts with MILLRACE_ is left out first. */
  readonly env?: Readonly<Record<string, string>>;
};

/**
 * Any program, as a person starts it in the root of the repository: without an IPC channel, and with a pipe for what is typed.
 * Leaving its scope ends it and everything that it started. (StartedProcess is for programs of this repository.)
 */
export class CommandProcess implements AsyncDisposable {
  /** What it writes, on stdout and stderr. */
  readonly log = new LineLog();
  readonly exited: Promise<ProcessExit>;
  readonly #child: ChildProcess;
  readonly #mark = randomUUID();

  constructor(options: CommandOptions) {
    const [program, ...args] = options.argv;
    const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("MILLRACE_"));
    this.#child = spawn(program, args, {
      cwd: ROOT,
      // A group of its own, so that a signal can be sent to it as a terminal does.
      detached: true,
      env: { ...Object.fromEntries(inherited), ...options.env, [TREE_VARIABLE]: this.#mark },
      stdio: ["pipe", "pipe", "pipe"],
    });
    // What is typed into a program that has just ended goes nowhere.
    this.#child.stdin?.on("error", () => {});
    this.log.read(this.#child.stdout);
    this.log.read(this.#child.stderr);
    this.exited = new Promise((resolve) => {
      const over = (exit: ProcessExit, reason: string): void => {
        this.log.end(reason);
        resolve(exit);
      };
      this.#child.on("close", (code, signal) => over({ code, signal }, `it ended with ${signal ?? code}`));
      this.#child.on("error", (error) => over({ code: null, signal: null }, error.message));
    });
  }

  /** Every live process of its tree, itself included. */
  tree(): TreeProcess[] {
    return findTree(this.#mark);
  }

  /** Sends a signal to its group, as a terminal does. */
  signal(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid !== undefined) process.kill(-pid, signal);
  }

  /** Types into it. */
  type(text: string): void {
    this.#child.stdin?.write(text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await killTree(this.#mark);
    await this.exited;
  }
}

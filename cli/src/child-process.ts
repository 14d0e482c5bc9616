import { type ChildProcess as NodeChildProcess, spawn } from "node:child_process";
import { isSupervisorMessage } from "@millrace/runtime";
import {
  type ChildAction,
  type ChildEvent,
  type ChildExit,
  type ChildState,
  INITIAL_CHILD_STATE,
  reduceChild,
} from "./child-lifecycle.ts";
import { LineSplitter } from "./line-splitter.ts";

/** Where a child listens, as it reported. */
export type Addresses = Readonly<Record<string, string>>;

/** What to run. */
export type ChildSpec = {
  /** Unique; the log's prefix. */
  readonly name: string;
  /** Path of the program, a script for this Node. */
  readonly program: string;
  /** The whole environment of the first start. */
  readonly environment: Readonly<Record<string, string>>;
  /** What to add to the environment of later starts, so that the child returns to the ports it had. */
  readonly pin: (addresses: Addresses) => Readonly<Record<string, string>>;
};

/** Who hears of a child. */
export type ChildObserver = {
  /** One line that it wrote, on stdout or stderr. */
  line(name: string, line: string): void;
  /** What became of it. */
  log(level: "info" | "warn" | "error", name: string, message: string): void;
  /** It never worked and is not started again. */
  gaveUp(name: string, reason: string): void;
};

/** After the exit of a child, how long its pipes may stay open (a grandchild may hold them), in milliseconds. */
const PIPES_CLOSE_MS = 500;

/**
 * Runs one child and keeps it running: the shell around `reduceChild`. The child is a process group of its own, so a
 * terminal's Ctrl-C does not reach it, and it has an IPC channel whose loss tells it to drain.
 */
export class ChildProcess {
  readonly spec: ChildSpec;
  readonly #observer: ChildObserver;
  readonly #firstReady = Promise.withResolvers<Addresses>();
  readonly #ended = Promise.withResolvers<void>();
  #state: ChildState = INITIAL_CHILD_STATE;
  #process: NodeChildProcess | undefined;
  #timer: NodeJS.Timeout | undefined;
  #addresses: Addresses | undefined;

  constructor(spec: ChildSpec, observer: ChildObserver) {
    this.spec = spec;
    this.#observer = observer;
  }

  get kind(): ChildState["kind"] {
    return this.#state.kind;
  }

  /** The process id of the present life, or undefined. */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Where it listens, from its first report on. Never resolves for a child that is never ready. */
  get firstReady(): Promise<Addresses> {
    return this.#firstReady.promise;
  }

  /** Resolves when it has ended for good. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Starts it; once. */
  start(): void {
    this.#dispatch({ type: "due" });
  }

  /** Asks it to finish what it has and end. */
  drain(): void {
    this.#dispatch({ type: "drain" });
  }

  /** Ends it and everything that it started, at once. */
  kill(): void {
    this.#dispatch({ type: "kill" });
  }

  #dispatch(event: ChildEvent): void {
    const { state, actions } = reduceChild(this.#state, event, performance.now());
    this.#state = state;
    for (const action of actions) this.#execute(action);
  }

  #execute(action: ChildAction): void {
    const { name } = this.spec;
    switch (action.type) {
      case "spawn":
        this.#spawn();
        break;
      case "wait":
        this.#timer = setTimeout(() => this.#dispatch({ type: "due" }), action.afterMs);
        break;
      case "cancelWait":
        clearTimeout(this.#timer);
        break;
      case "signal":
        this.#signal(action.signal);
        break;
      case "log":
        this.#observer.log(action.level, name, action.message);
        break;
      case "firstReady":
        this.#firstReady.resolve(this.#addresses ?? {});
        break;
      case "giveUp":
        this.#observer.gaveUp(name, action.reason);
        break;
      case "ended":
        this.#ended.resolve();
        break;
    }
  }

  #spawn(): void {
    const { program, environment, pin } = this.spec;
    const pinned = this.#addresses === undefined ? {} : pin(this.#addresses);
    const child = spawn(process.execPath, [program], {
      detached: true,
      env: { ...environment, ...pinned },
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    this.#process = child;
    for (const stream of [child.stdout, child.stderr]) {
      const splitter = new LineSplitter((line) => this.#observer.line(this.spec.name, line));
      stream?.on("data", (chunk: Uint8Array) => splitter.push(chunk));
      stream?.on("end", () => splitter.end());
    }
    child.on("message", (message) => {
      if (!isSupervisorMessage(message)) return;
      this.#addresses = message.addresses;
      this.#dispatch({ type: "reported" });
    });
    this.#awaitExit(child);
  }

  /** One `exited` per life, when its last lines are read, or shortly after its exit. */
  #awaitExit(child: NodeChildProcess): void {
    let heard = false;
    const once = (exit: ChildExit): void => {
      if (heard) return;
      heard = true;
      this.#process = undefined;
      this.#dispatch({ type: "exited", ...exit });
    };
    child.on("error", (error) => {
      if (child.pid === undefined) once({ code: null, signal: null, problem: error.message });
    });
    child.on("exit", (code, signal) => setTimeout(() => once({ code, signal, problem: "" }), PIPES_CLOSE_MS).unref());
    child.on("close", (code, signal) => once({ code, signal, problem: "" }));
  }

  #signal(signal: "SIGTERM" | "SIGKILL"): void {
    const child = this.#process;
    const pid = child?.pid;
    if (child === undefined || pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    try {
      process.kill(signal === "SIGKILL" ? -pid : pid, signal);
    } catch {
      // It has exited in this moment; its exit is on the way to us.
    }
  }
}

import { type ChildObserver, ChildProcess, type ChildSpec } from "./child-process.ts";
import type { DevPlan } from "./dev-plan.ts";

const PROGRESS_EVERY_MS = 5_000;

/** All processes of one `millrace dev`: starts them in the order of who needs whom, and ends them in the reverse. */
export class Fleet {
  readonly #plan: Pick<DevPlan, "broker" | "workers" | "gateways">;
  readonly #observer: ChildObserver;
  #broker: ChildProcess | undefined;
  #workers: readonly ChildProcess[] = [];
  #gateways: readonly ChildProcess[] = [];

  constructor(plan: Pick<DevPlan, "broker" | "workers" | "gateways">, observer: ChildObserver) {
    this.#plan = plan;
    this.#observer = observer;
  }

  get children(): readonly ChildProcess[] {
    const broker = this.#broker === undefined ? [] : [this.#broker];
    return [...this.#gateways, ...broker, ...this.#workers];
  }

  get gateways(): readonly ChildProcess[] {
    return this.#gateways;
  }

  /**
   * Starts the broker, then, when it listens, workers and gateways, and waits until each has been ready once.
   * `onProgress` hears every five seconds who is not. Rejects with the signal's reason when it is aborted.
   */
  async start(signal: AbortSignal, onProgress: (waitingFor: string) => void): Promise<void> {
    const progress = setInterval(() => onProgress(this.#notReady().join(", ")), PROGRESS_EVERY_MS);
    try {
      this.#broker = this.#launch(this.#plan.broker());
      const broker = await unlessAborted(this.#broker.firstReady, signal);
      this.#workers = this.#plan.workers(broker).map((spec) => this.#launch(spec));
      this.#gateways = this.#plan.gateways(broker).map((spec) => this.#launch(spec));
      await unlessAborted(Promise.all(this.children.map((child) => child.firstReady)), signal);
    } finally {
      clearInterval(progress);
    }
  }

  /**
   * Drains gateways, then workers, then the broker. What is left after `boundMs` is killed. Resolves when no process is
   * left, with the names of those that were killed.
   */
  async drain(boundMs: number): Promise<readonly string[]> {
    let killed: readonly string[] = [];
    const timer = setTimeout(() => {
      killed = this.children.filter((child) => child.kind !== "stopped").map((child) => child.spec.name);
      this.kill();
    }, boundMs);
    const broker = this.#broker === undefined ? [] : [this.#broker];
    for (const group of [this.#gateways, this.#workers, broker]) {
      for (const child of group) child.drain();
      await Promise.all(group.map((child) => child.ended));
    }
    clearTimeout(timer);
    return killed;
  }

  /** Ends everything at once. */
  kill(): void {
    for (const child of this.children) child.kill();
  }

  #launch(spec: ChildSpec): ChildProcess {
    const child = new ChildProcess(spec, this.#observer);
    child.start();
    return child;
  }

  #notReady(): readonly string[] {
    return this.children.filter((child) => child.kind !== "ready").map((child) => child.spec.name);
  }
}

async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason);
  signal.addEventListener("abort", abort);
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

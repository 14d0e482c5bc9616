import { setTimeout as sleep } from "node:timers/promises";
import { StartedProcess } from "./started-process.ts";

export type DevOptions = {
  /** The folder of the model repository. */
  readonly models: string;
  readonly gateways?: number;
  readonly workers?: number;
  /** More options of `millrace dev`. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** How long the start may take, models included. */
  readonly readyTimeoutMs?: number;
};

const READY_TIMEOUT_MS = 30_000;
/** How long a killed child may take to be back. */
const BACK_TIMEOUT_MS = 20_000;

const POLL_MS = 20;

/** A model version as the broker tells of it. Times in milliseconds. */
export type BrokerModel = {
  readonly name: string;
  /** Their names. */
  readonly workers: readonly string[];
  /** By bucket and kind of worker. */
  readonly curves: readonly {
    readonly points: readonly { readonly rows: number; readonly q50Ms: number; readonly q95Ms: number }[];
  }[];
};

/** A whole system that runs: `millrace dev`, on free ports. Leaving its scope ends every process of it. */
export class DevSystem implements AsyncDisposable {
  readonly process: StartedProcess;
  /** `http://127.0.0.1:PORT` of each gateway. */
  readonly urls: readonly string[];
  /** By process name and kind, e.g. `addresses["broker-1"]["admin"]`. */
  readonly addresses: Readonly<Record<string, Readonly<Record<string, string>>>>;

  private constructor(process: StartedProcess, urls: readonly string[], addresses: DevSystem["addresses"]) {
    this.process = process;
    this.urls = urls;
    this.addresses = addresses;
  }

  /** Starts it and waits until it says that it is ready. */
  static async start(options: DevOptions): Promise<DevSystem> {
    const { gateways = 1, workers = 1, args = [], env = {}, readyTimeoutMs: timeoutMs = READY_TIMEOUT_MS } = options;
    const counts = ["--gateways", String(gateways), "--workers", String(workers)];
    const argv = ["cli/src/main.ts", "dev", "--port", "0", "--models", options.models, ...counts, ...args];
    const process = new StartedProcess({ argv, env });
    try {
      const ready = await process.log.waitFor(/^ready /, { timeoutMs });
      const addresses: Record<string, Record<string, string>> = {};
      for (const name of [...numbered("gateway", gateways), "broker-1", ...numbered("worker", workers)]) {
        const [, ...pairs] = (await process.log.waitFor(new RegExp(`^${name} \\w+ \\w+://`))).split(" ");
        const kinds = pairs.filter((_, at) => at % 2 === 0);
        addresses[name] = Object.fromEntries(kinds.map((kind, at) => [kind, pairs[2 * at + 1] ?? ""]));
      }
      return new DevSystem(process, ready.split(" ").slice(1), addresses);
    } catch (error) {
      await process[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The first gateway's. */
  get url(): string {
    return this.urls[0] ?? "";
  }

  /** The pid of a child by its name, e.g. "worker-1"; 0 while it is not there. */
  pidOf(name: string): number {
    return this.process.tree().find((child) => child.name === name)?.pid ?? 0;
  }

  /**
   * Kills a child, with SIGKILL unless told otherwise. The promise of `back` resolves when it is ready again, and rejects where that takes longer
   * than 20 s.
   */
  kill(
    name: string,
    signal: "SIGKILL" | "SIGTERM" = "SIGKILL",
  ): { readonly pid: number; readonly back: Promise<void> } {
    const pid = this.pidOf(name);
    if (pid === 0) throw new Error(`${name} is not there to be killed\n${this.process.log.tail()}`);
    const from = this.process.log.lines.length;
    process.kill(pid, signal);
    const back = this.process.log.waitFor(new RegExp(`${name} is back`), { from, timeoutMs: BACK_TIMEOUT_MS });
    back.catch(() => {});
    return { pid, back: back.then(() => {}) };
  }

  /** What the broker says of its models on its admin port. */
  async brokerModels(): Promise<readonly BrokerModel[]> {
    const response = await fetch(`${this.addresses["broker-1"]?.["admin"]}/models`, {
      signal: AbortSignal.timeout(5_000),
      headers: { connection: "close" },
    });
    return (await response.json()) as Awaited<ReturnType<DevSystem["brokerModels"]>>;
  }

  /** Waits until so many workers serve every model, as far as the broker knows; at most 5 s. */
  async awaitWorkers(count: number): Promise<void> {
    const untilMs = performance.now() + 5_000;
    for (;;) {
      const models = await this.brokerModels();
      if (models.length > 0 && models.every(({ workers }) => workers.length === count)) return;
      if (performance.now() > untilMs) throw new Error(`not ${count} workers: ${JSON.stringify(models)}`);
      await sleep(POLL_MS);
    }
  }

  /** Stops it as Ctrl-C does, and asserts that it ends with code 0 and leaves no process behind. */
  async stop(): Promise<void> {
    await this.process.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
  }
}

/** One process of one role, as in a container, on free ports. */
export type RoleProcess = StartedProcess & { readonly addresses: Readonly<Record<string, string>> };

/** Starts a broker; its addresses are `gateways`, `workers` and `admin`. */
export async function startBroker(
  options: { readonly env?: Readonly<Record<string, string>> } = {},
): Promise<RoleProcess> {
  return startRole("broker", { MILLRACE_GATEWAY_PORT: "0", MILLRACE_WORKER_PORT: "0", ...options.env });
}

/** Starts a worker that serves a folder; `broker` is the broker's `workers` address. Its address is `admin`. */
export async function startWorker(options: {
  readonly broker: string;
  readonly models: string;
  readonly env?: Readonly<Record<string, string>>;
}): Promise<RoleProcess> {
  const { broker, models, env } = options;
  return startRole("worker", { MILLRACE_BROKERS: broker, MILLRACE_MODELS: models, MILLRACE_THREADS: "1", ...env });
}

/** Starts a gateway; `broker` is the broker's `gateways` address. Its addresses are `http` and `admin`. */
export async function startGateway(options: {
  readonly broker: string;
  readonly env?: Readonly<Record<string, string>>;
}): Promise<RoleProcess> {
  return startRole("gateway", { MILLRACE_BROKERS: options.broker, MILLRACE_PORT: "0", ...options.env });
}

async function startRole(role: string, env: Readonly<Record<string, string>>): Promise<RoleProcess> {
  const started = new StartedProcess({ argv: ["cli/src/main.ts", role], env: { MILLRACE_ADMIN_PORT: "0", ...env } });
  try {
    return Object.assign(started, { addresses: await started.ready });
  } catch (error) {
    await started[Symbol.asyncDispose]();
    throw error;
  }
}

function numbered(role: string, count: number): string[] {
  return Array.from({ length: count }, (_, at) => `${role}-${at + 1}`);
}

import { spawn, spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "./free-port.ts";
import { LineLog } from "./line-log.ts";

const READY_TIMEOUT_MS = 20_000;
const POLL_MS = 50;

/** Why Prometheus cannot be started here, in words that help; "" where it can. */
export function prometheusFault(): string {
  const missing = ["prometheus", "promtool"].filter((program) => spawnSync(program, ["--version"]).error !== undefined);
  return missing.length === 0 ? "" : `${missing.join(" and ")} missing: apt-get install prometheus`;
}

/** What `promtool check metrics` says of a page: "" where it has nothing to say. */
export function lintMetrics(page: string): string {
  const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], {
    input: page,
    encoding: "utf8",
  });
  return status === 0 ? "" : `${stdout}${stderr}`.trim() || `promtool ended with ${status}`;
}

/** A job of Prometheus: the admin addresses, `http://HOST:PORT`, of the processes of one role. */
export type ScrapeJob = { readonly name: string; readonly addresses: readonly string[] };

/** One series of an answer to a query: its labels and its latest value. */
export type QueryResult = {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
};

/** A real Prometheus that scrapes once a second. Leaving its scope ends it. */
export class Prometheus implements AsyncDisposable {
  readonly #url: string;
  readonly #end: () => Promise<void>;

  private constructor(url: string, end: () => Promise<void>) {
    this.#url = url;
    this.#end = end;
  }

  /** Starts it with its data in `folder`, and waits until it answers. */
  static async start(folder: string, jobs: readonly ScrapeJob[]): Promise<Prometheus> {
    const config = {
      global: { scrape_interval: "1s", scrape_timeout: "1s" },
      scrape_configs: jobs.map(({ name, addresses }) => ({
        job_name: name,
        static_configs: [{ targets: addresses.map((address) => new URL(address).host) }],
      })),
    };
    const file = join(folder, "prometheus.yml");
    // JSON is YAML.
    await writeFile(file, JSON.stringify(config));
    const port = await freePort();
    const log = new LineLog();
    const child = spawn("prometheus", [
      `--config.file=${file}`,
      `--storage.tsdb.path=${join(folder, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ]);
    log.read(child.stdout);
    log.read(child.stderr);
    let hasEnded: Error | undefined;
    const exited = new Promise<void>((resolve) => {
      child.on("error", (error) => {
        hasEnded = error;
        resolve();
      });
      child.on("close", () => {
        hasEnded ??= new Error(`prometheus has ended\n${log.tail()}`);
        resolve();
      });
    });
    const prometheus = new Prometheus(`http://127.0.0.1:${port}`, async () => {
      child.kill("SIGKILL");
      await exited;
    });
    const untilMs = performance.now() + READY_TIMEOUT_MS;
    while (!(await prometheus.#isReady())) {
      if (hasEnded !== undefined || performance.now() > untilMs) {
        await prometheus.#end();
        throw hasEnded ?? new Error(`prometheus is not ready\n${log.tail()}`);
      }
      await sleep(POLL_MS);
    }
    return prometheus;
  }

  /** Every metric name that it has seen. */
  async names(): Promise<readonly string[]> {
    return (await this.#ask("/api/v1/label/__name__/values")) as readonly string[];
  }

  /** The result of a query now. */
  async query(query: string): Promise<readonly QueryResult[]> {
    const data = await this.#ask(`/api/v1/query?query=${encodeURIComponent(query)}`);
    return (data as { readonly result: readonly QueryResult[] }).result;
  }

  async #ask(path: string): Promise<unknown> {
    const response = await fetch(this.#url + path, { signal: AbortSignal.timeout(10_000) });
    const { status, data, error } = (await response.json()) as { status: string; data?: unknown; error?: string };
    if (status !== "success") throw new Error(`prometheus: ${path}: ${error}`);
    return data;
  }

  async #isReady(): Promise<boolean> {
    return fetch(`${this.#url}/-/ready`, { signal: AbortSignal.timeout(1_000) }).then(
      ({ ok }) => ok,
      () => false,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }
}

import { join } from "node:path";
import { Curve, type Line } from "@millrace/scheduling";
import { writeModels } from "../../tests/support/load-models.ts";
import { readMetrics, sumOf } from "../../tests/support/metrics-text.ts";
import type { RowPoolOptions } from "../../tests/support/row-pool.ts";
import { type SimulatedModel, simulatedWitness, writeSimulatedModel } from "../../tests/support/simulated-model.ts";
import { DevSystem, startWorker } from "../../tests/support/system.ts";
import { temporaryFolder } from "../../tests/support/temporary-folder.ts";

export type LiveOptions = {
  readonly workers: number;
  readonly models: readonly SimulatedModel[];
  /** Lengths of the rows of models whose rows have any. */
  readonly lengths?: readonly number[];
  /** Default "warn". What is killed can be seen to be back from "info" on. */
  readonly logLevel?: "info";
  /** More options of `millrace dev`. */
  readonly args?: readonly string[];
};

/** Rows that differ, of each model. */
const POOL_ROWS = 512;

/** Eight workers on two cores that others use as well. */
const READY_TIMEOUT_MS = 90_000;

/** `millrace dev` with simulated models, and what its answers are checked against. Leaving its scope ends it. */
export class LiveSystem implements AsyncDisposable {
  readonly workers: number;
  readonly system: DevSystem;
  readonly #pools: ReadonlyMap<string, RowPoolOptions>;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    options: LiveOptions,
    system: DevSystem,
    parts: { readonly pools: ReadonlyMap<string, RowPoolOptions>; readonly stack: AsyncDisposableStack },
  ) {
    this.workers = options.workers;
    this.system = system;
    this.#pools = parts.pools;
    this.#stack = parts.stack;
  }

  static async start(options: LiveOptions): Promise<LiveSystem> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await temporaryFolder());
    const served = join(folder.path, "models");
    for (const model of options.models) await writeSimulatedModel(served, model);
    const names = options.models.map(({ name }) => name);
    const witnesses = await writeModels(
      join(folder.path, "witnesses"),
      options.models.map(({ name, lengths }) => simulatedWitness(name, lengths?.buckets.at(-1))),
    );
    const system = stack.use(
      await DevSystem.start({
        models: served,
        workers: options.workers,
        args: ["--threads", "1", "--log-level", options.logLevel ?? "warn", ...(options.args ?? [])],
        readyTimeoutMs: READY_TIMEOUT_MS,
      }),
    );
    await system.awaitWorkers(options.workers);
    const lengths = options.lengths === undefined ? {} : { lengths: options.lengths };
    const pools = new Map(
      names.map((model, i) => [model, { model, path: witnesses[i] ?? "", rows: POOL_ROWS, seed: 31 + i, ...lengths }]),
    );
    return new LiveSystem(options, system, { pools, stack: stack.move() });
  }

  /** One more worker, which serves models of the same names its own way. Resolves when the broker has it. */
  async addWorker(models: readonly SimulatedModel[]): Promise<void> {
    const folder = this.#stack.use(await temporaryFolder());
    for (const model of models) await writeSimulatedModel(folder.path, model);
    const broker = this.system.addresses["broker-1"]?.["workers"] ?? "";
    const env = { MILLRACE_NAME: "worker-other", MILLRACE_LOG_LEVEL: "warn" };
    this.#stack.use(await startWorker({ broker, models: folder.path, env }));
    await this.system.awaitWorkers(this.workers + 1);
  }

  /** The rows of a model with the answers they must get. */
  poolOf(model: string): RowPoolOptions {
    const pool = this.#pools.get(model);
    if (pool === undefined) throw new RangeError(`the system has no model ${model}`);
    return pool;
  }

  /** The batch time that the broker has measured, as a line through its medians. */
  async measuredLine(model: string): Promise<Line> {
    const line = (await this.#curve(model)).line();
    if (line === undefined) throw new Error(`the broker has no curve of ${model}`);
    return line;
  }

  /** The measured median of a run of so many rows, in ms. */
  async medianMs(model: string, rows: number): Promise<number> {
    return (await this.#curve(model)).predict(rows)?.q50Ms ?? Number.NaN;
  }

  async #curve(model: string): Promise<Curve> {
    const found = (await this.system.brokerModels()).find(({ name }) => name === model);
    const curve = new Curve();
    for (const { rows, q50Ms } of found?.curves[0]?.points ?? []) curve.record(rows, q50Ms);
    return curve;
  }

  /** Rows that the broker has sent to workers so far. */
  async sentRows(model: string): Promise<number> {
    return sumOf(await this.brokerMetrics(), "millrace_broker_batch_rows_sum", { model });
  }

  /** The sum of a metric over the workers, of one model. */
  async workersSum(metric: string, model: string): Promise<number> {
    const admins = Object.entries(this.system.addresses).filter(([name]) => name.startsWith("worker-"));
    const pages = await Promise.all(admins.map(([, { admin = "" }]) => readMetrics(admin)));
    return sumOf(pages.flat(), metric, { model });
  }

  async brokerMetrics(): ReturnType<typeof readMetrics> {
    return readMetrics(this.system.addresses["broker-1"]?.["admin"] ?? "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

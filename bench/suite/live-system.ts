import { join } from "node:path";
import { Curve, type Line } from "@millrace/scheduling";
import type { LoadWarmUp } from "../../tests/support/load-plan.ts";
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

const WARM_UP = "warm-up";
/** What all workers together do of it a second. */
const WARM_UP_PER_SECOND = 2_000;
const WARM_UP_ROWS = 8;

/** A model so fast that in a second each path was taken a thousand times: that of answers, of refusals at the door, of later sheds. */
function warmUpModel(workers: number): SimulatedModel {
  const runMs = (1000 * workers * WARM_UP_ROWS) / WARM_UP_PER_SECOND;
  return { name: WARM_UP, runMs, maxBatchSize: WARM_UP_ROWS, timeoutMs: 4 * runMs };
}

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
    const models = [...options.models, warmUpModel(options.workers)];
    for (const model of models) await writeSimulatedModel(served, model);
    const names = models.map(({ name }) => name);
    const witnesses = await writeModels(
      join(folder.path, "witnesses"),
      models.map(({ name, lengths }) => simulatedWitness(name, lengths?.buckets.at(-1))),
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
    for (const model of [...models, warmUpModel(this.workers)]) await writeSimulatedModel(folder.path, model);
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

  /**
   * What goes before a load that is measured: below and far above what can be done. At some hundreds of requests a second code takes longer to
   * be compiled than a measurement lasts; the first refusals took 8 to 18 ms.
   */
  get warmUp(): LoadWarmUp {
    const phases = [
      { ratePerSecond: 0.5 * WARM_UP_PER_SECOND, durationMs: 500 },
      { ratePerSecond: 2 * WARM_UP_PER_SECOND, durationMs: 1000 },
    ];
    return { pool: this.poolOf(WARM_UP), arrivals: { kind: "phases", phases, seed: 98 }, connections: 256 };
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

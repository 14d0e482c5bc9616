import type { MessageOf } from "@millrace/protocol";
import type { Line } from "@millrace/scheduling";
import type { BrokerOptions } from "../broker.ts";
import { BrokerDriver, type FakeGateway, type FakeWorker } from "./broker-driver.ts";
import { modelOf, submitItem } from "./message-builders.ts";

/** A request that comes whatever became of the others. Times in ms. */
export type Offered = {
  readonly atMs: number;
  readonly budgetMs: number;
  readonly rows: number;
  readonly priority: number;
  readonly tenant: string;
};

/** What became of it; `sentMs` and `endMs` are NaN where it did not get so far. `code`: "" while nothing has. */
export type Fate = Offered & { readonly number: number; sentMs: number; endMs: number; code: string };

export type OpenLoadPlan = {
  readonly offered: readonly Offered[];
  /** Batch time of every worker, to the millisecond as predicted. */
  readonly line: Line;
  readonly workers: number;
  readonly rowsMax: number;
  readonly options?: Partial<BrokerOptions>;
  /** Hears of each batch as it leaves, before its requests are marked as sent. */
  readonly onBatch?: (batch: readonly Fate[], load: OpenLoad) => void;
};

/** Times are differences of larger ones. */
const ROUNDING_MS = 1e-6;

type Lane = { readonly worker: FakeWorker; readonly jobs: MessageOf<"JOB">[]; endMs: number };

/** The whole broker core on a virtual clock under an open load, with workers of one slot that take exactly the time that is predicted. */
export class OpenLoad {
  readonly driver: BrokerDriver;
  readonly gateway: FakeGateway;
  readonly fates: Fate[];
  readonly startMs: number;
  readonly #plan: OpenLoadPlan;
  readonly #lanes: Lane[] = [];
  #next = 0;

  constructor(plan: OpenLoadPlan) {
    this.#plan = plan;
    this.driver = new BrokerDriver({ queueRowsMax: 1e6, queueBytesMax: 1e9, ...plan.options });
    this.gateway = this.driver.gateway();
    for (let i = 0; i < plan.workers; i++) this.addWorker();
    this.driver.decide();
    this.startMs = this.driver.nowMs;
    this.fates = plan.offered.map((one, number) => ({ ...one, number, sentMs: NaN, endMs: NaN, code: "" }));
  }

  addWorker(): void {
    const { rowsMax } = this.#plan;
    const curveMs: [number, number][] = [1, rowsMax].map((rows) => [rows, this.timeOf(rows)]);
    const models = [modelOf("m", { maxBatchSize: rowsMax, maxHoldMs: 5 })];
    const worker = this.driver.worker(`worker ${this.#lanes.length}`, { curveMs, models });
    this.#lanes.push({ worker, jobs: [], endMs: Infinity });
  }

  timeOf(rows: number): number {
    return this.#plan.line.fixedMs + this.#plan.line.rowMs * rows;
  }

  get nowMs(): number {
    return this.driver.nowMs - this.startMs;
  }

  /** Requests that were let in and wait in the queue. */
  get waiting(): Fate[] {
    return this.fates.slice(0, this.#next).filter(({ sentMs, code }) => code === "" && Number.isNaN(sentMs));
  }

  /** Runs until all has ended, or to a time. */
  run(untilMs = Infinity): this {
    for (;;) {
      this.#turn();
      const { driver, fates } = this;
      const arrivesMs = fates[this.#next]?.atMs ?? Infinity;
      const endsMs = Math.min(...this.#lanes.map(({ endMs }) => endMs));
      const isIdle = arrivesMs === Infinity && endsMs === Infinity && driver.core.openRequests === 0;
      const nextMs = Math.min(arrivesMs, endsMs, driver.core.wakeAtMs - this.startMs);
      if (isIdle || Math.min(nextMs, untilMs) === Infinity || this.nowMs + ROUNDING_MS >= untilMs) return this;
      driver.advance(Math.max(0, Math.min(nextMs, untilMs) - this.nowMs));
      // What left on the way there left before what comes now.
      this.#turn();
      for (const lane of this.#lanes) if (lane.endMs <= this.nowMs + ROUNDING_MS) this.#end(lane);
      const items = [];
      for (
        let one = fates[this.#next];
        one !== undefined && one.atMs <= this.nowMs + ROUNDING_MS;
        one = fates[++this.#next]
      ) {
        const { number, budgetMs, rows, priority, tenant } = one;
        items.push(submitItem(number, { budgetUs: Math.round(budgetMs * 1000), rows, priority, tenant }));
      }
      if (items.length > 0) this.gateway.say({ command: "SUBMIT", items });
    }
  }

  #turn(): void {
    // What was given up in this turn did not wait when its batches left.
    for (const { request, code } of this.gateway.answers()) {
      const fate = this.fates[request]!;
      fate.code = code;
      fate.endMs = this.nowMs;
    }
    for (const lane of this.#lanes) {
      for (const job of lane.worker.jobs()) {
        const batch = job.items.map(({ request }) => this.fates[request]!);
        this.#plan.onBatch?.(batch, this);
        for (const fate of batch) fate.sentMs = this.nowMs;
        lane.jobs.push(job);
        if (lane.jobs.length === 1) lane.endMs = this.nowMs + this.timeOf(rowsOf(job));
      }
    }
  }

  #end(lane: Lane): void {
    const job = lane.jobs.shift()!;
    lane.worker.answer(job, this.timeOf(rowsOf(job)));
    const [next] = lane.jobs;
    lane.endMs = next === undefined ? Infinity : this.nowMs + this.timeOf(rowsOf(next));
  }
}

function rowsOf({ items }: MessageOf<"JOB">): number {
  return items.reduce((sum, { rows }) => sum + rows, 0);
}

/** Poisson arrivals of one kind, over so long. `rate`: requests a ms. */
export function poisson(
  kind: Omit<Offered, "atMs"> & { readonly rate: number; readonly forMs: number },
  random: () => number,
): Offered[] {
  const { rate, forMs, ...rest } = kind;
  const offered: Offered[] = [];
  for (let atMs = -Math.log(1 - random()) / rate; atMs < forMs; atMs += -Math.log(1 - random()) / rate)
    offered.push({ atMs, ...rest });
  return offered;
}

/** Several kinds of arrivals as one. */
export function merged(...kinds: readonly Offered[][]): Offered[] {
  return kinds.flat().sort((a, b) => a.atMs - b.atMs);
}

import { LoadDriver } from "./load-driver.ts";
import { measure } from "./measure.ts";
import type { Measurement, Skipped } from "./results.ts";
import type { ServedModel, Side, SideRow } from "./side.ts";
import { DISTINCT_ROWS, type Workload } from "./workloads.ts";

export type ComparisonOptions = {
  readonly workload: Workload;
  readonly model: ServedModel;
  readonly rows: readonly SideRow[];
  readonly rounds: number;
  readonly ms: number;
  readonly folder: string;
  readonly signal: AbortSignal;
  /** Hears how far it is. */
  readonly say: (text: string) => void;
  /** Where results go as they come, so that an interrupted comparison leaves what it had. */
  readonly measurements: Measurement[];
  readonly skipped: Skipped[];
};

/** Each side is loaded for so long before the first round: code is compiled, connections and memory are there. */
const WARM_UP_MS = 5_000;
/** Where that is an open loop. */
const WARM_UP_RATE = 100;

type OpenShape = Extract<Workload["shape"], { readonly kind: "open" }>;

type Running = { readonly row: SideRow; readonly side: Side };

/**
 * Measures sides under one workload. All run the whole time and are loaded in turn, in another order each round, because machines
 * change their speed within minutes: so only ratios inside a round count. (Restless sides run in their own turns only.) A side
 * that does not start, or answers wrongly, is left out from then on, and the reason is told.
 * @throws what the signal was aborted with.
 */
export async function compare(options: ComparisonOptions): Promise<void> {
  const { workload, model, rows, rounds, ms, folder, signal, say, measurements, skipped } = options;
  await using stack = new AsyncDisposableStack();
  const driver = await LoadDriver.prepare({
    model,
    shape: workload.shape,
    rows: DISTINCT_ROWS[workload.model],
    folder,
  });
  const { shape } = workload;
  const warmUp = async ({ row, side }: Running): Promise<void> => {
    if (shape.kind === "open" && row.capacityOf === undefined) {
      const rate = await driver.capacity(row, side, { ms: WARM_UP_MS, connections: shape.connections });
      return say(`${workload.name}  warm-up  ${row.name}: ${Math.round(rate)}/s`);
    }
    const turn = { ms: WARM_UP_MS, round: 0, ratePerSecond: WARM_UP_RATE, onBegin: () => {} };
    const { answers, elapsedMs } = await driver.run(row, side, turn);
    say(`${workload.name}  warm-up  ${row.name}: ${Math.round(answers / (elapsedMs / 1000))}/s`);
  };
  const running = new Map<SideRow, Side | undefined>();
  /** What goes wrong leaves the side out. */
  const attempt = async (row: SideRow, work: () => Promise<void>): Promise<void> => {
    signal.throwIfAborted();
    try {
      await work();
    } catch (error) {
      signal.throwIfAborted();
      const reason = error instanceof Error ? error.message : String(error);
      skipped.push({ workload: workload.name, side: row.name, reason });
      say(`${workload.name}  left out  ${row.name}: ${reason}`);
      running.delete(row);
    }
  };
  for (const row of rows) {
    const reason = row.missing();
    if (reason !== "") {
      skipped.push({ workload: workload.name, side: row.name, reason });
      say(`${workload.name}  left out  ${row.name}: ${reason}`);
      continue;
    }
    await attempt(row, async () => {
      const side = row.isRestless === true ? undefined : stack.use(await row.start(model));
      if (side !== undefined) await warmUp({ row, side });
      running.set(row, side);
    });
  }
  /** Measured anew in each round, as machines change their speed, and once where sides share it. */
  const capacities = new Map<string, number>();
  const rateOf = async ({ of, share, connections }: OpenShape, own: Running, round: number): Promise<number> => {
    const name = of === "own" ? (own.row.capacityOf ?? own.row.name) : of.side;
    const key = `${round} ${name}`;
    if (!capacities.has(key)) {
      const [row, side] =
        name === own.row.name ? [own.row, own.side] : ([...running].find(([one]) => one.name === name) ?? []);
      if (row === undefined || side === undefined)
        throw new Error(`${name}, whose capacity the rate is a share of, is not there`);
      capacities.set(key, await driver.capacity(row, side, { ms, connections }));
    }
    return share * capacities.get(key)!;
  };
  const turn = async (row: SideRow, round: number): Promise<void> => {
    await using own = new AsyncDisposableStack();
    const side = running.get(row) ?? own.use(await row.start(model));
    if (row.isRestless === true) await warmUp({ row, side });
    const rate = shape.kind === "open" ? { ratePerSecond: await rateOf(shape, { row, side }, round) } : {};
    const one = await measure({ workload: workload.name, row, side, driver, round, ms, ...rate });
    measurements.push(one);
    say(`${workload.name}  ${round + 1}/${rounds}  ${describe(one)}`);
  };
  for (let round = 0; round < rounds; round++) {
    const order = rotated([...running.keys()], round);
    for (const row of order) await attempt(row, () => turn(row, round));
  }
}

/** The list from its element `by` on, and then from its start. */
export function rotated<T>(list: readonly T[], by: number): T[] {
  const at = list.length === 0 ? 0 : by % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}

/** From this share of the cores on, it is told at once that others are at work: the numbers are worth little. */
const OTHERS_SHARE_TOLD = 0.1;

function describe(one: Measurement): string {
  const { side, perSecond, cpuUs, latencyMs, openLoop, ratePerSecond, othersShare = 0 } = one;
  const due = ratePerSecond === undefined ? "" : ` of ${Math.round(ratePerSecond)}/s`;
  const share = openLoop === undefined ? "" : `, ${(openLoop.attainedShare * 100).toFixed(1)} % in time${due}`;
  const rate = `${Math.round(perSecond)}/s, ${cpuUs.toFixed(1)} µs CPU`;
  const others = othersShare < OTHERS_SHARE_TOLD ? "" : `, others took ${Math.round(othersShare * 100)} % of the cores`;
  return `${side}: ${rate}, p50 ${latencyMs.p50.toFixed(2)} p99 ${latencyMs.p99.toFixed(2)} ms${share}${others}`;
}

import { expect, test } from "vitest";
import type { BrokerOptions } from "./broker.ts";
import { NO_OBSERVER } from "./metrics/observer.ts";
import { merged, type Offered, OpenLoad, poisson } from "./testing/open-load.ts";
import { randomFrom } from "./testing/simulated-network.ts";

const LINE = { fixedMs: 4, rowMs: 0.25 };
const [WORKERS, ROWS_MAX] = [2, 16];
/** The time of a largest batch, which is the target; and rows a ms of slots that run nothing else. */
const BATCH_MS = LINE.fixedMs + LINE.rowMs * ROWS_MAX;
const CAPACITY = (WORKERS * ROWS_MAX) / BATCH_MS;
const FOR_MS = 2_500;
/** The queue has to stand for 20 targets, and then to be given up. */
const WARM_MS = 1_200;
const LONG = { budgetMs: 30_000, rows: 1, priority: 2, tenant: "" };

type Outcome = { readonly goodput: number; readonly p50Ms: number; readonly p99Ms: number; readonly shedMs: number };

function run(offered: readonly Offered[], looseBudgetMs: number, given: Partial<BrokerOptions> = {}): OpenLoad {
  const options = { looseBudgetMs, queueRowsMax: 1e9, ...given };
  return new OpenLoad({ offered, line: LINE, workers: WORKERS, rowsMax: ROWS_MAX, options }).run();
}

/** Of what comes and is answered after the beginning: what of the capacity, how old, and how old what was given up. */
function outcomeOf({ fates }: OpenLoad): Outcome {
  const counted = fates.filter(({ atMs, budgetMs }) => atMs > WARM_MS && budgetMs === LONG.budgetMs);
  const ages = (code: string): number[] =>
    counted.flatMap((one) => (one.code === code ? [one.endMs - one.atMs] : [])).sort((a, b) => a - b);
  const ok = ages("ok");
  const answered = fates.filter(({ code, endMs }) => code === "ok" && endMs > WARM_MS && endMs <= FOR_MS);
  return {
    goodput: answered.length / ((FOR_MS - WARM_MS) * CAPACITY),
    p50Ms: ok[Math.floor(0.5 * ok.length)]!,
    p99Ms: ok[Math.floor(0.99 * ok.length)]!,
    shedMs: ages("shed").at(-1) ?? 0,
  };
}

const load = (factor: number): Offered[] => poisson({ ...LONG, rate: factor * CAPACITY, forMs: FOR_MS }, randomFrom(1));

test.for([1.5, 2, 5])(
  "at %s times the capacity, with 30 s each, the queue stays short and the slots full",
  (factor) => {
    const { goodput, p50Ms, p99Ms, shedMs } = outcomeOf(run(load(factor), 10_000));
    expect(goodput).toBeGreaterThan(0.95);
    expect(p50Ms).toBeLessThan(4 * BATCH_MS);
    // One batch runs, one is staged, and then it is two targets at most.
    expect(p99Ms).toBeLessThan(5 * BATCH_MS);
    expect(shedMs).toBeLessThan(4 * BATCH_MS);
  },
);

test("who is given up is told so, and is counted", () => {
  let sloughed = 0;
  const { fates, driver } = run(load(2), 10_000, {
    observer: { ...NO_OBSERVER, sloughed: () => sloughed++ },
  });
  expect(sloughed).toBeGreaterThan(1_000);
  expect(fates.filter(({ code }) => code === "shed")).toHaveLength(sloughed);
  const sheds = driver.core.models.all[0]!.decisions.latest(1_000, 0).filter(({ decision }) => decision === "shed");
  expect(new Set(sheds.map(({ why }) => why))).toEqual(new Set(["codel"]));
});

test("without that each waits behind all others", () => {
  const { goodput, p50Ms } = outcomeOf(run(load(2), Infinity));
  expect(goodput).toBeGreaterThan(0.95);
  expect(p50Ms).toBeGreaterThan(0.5 * WARM_MS);
});

test("below the capacity nobody is given up, and all is as without", () => {
  const [one, other] = [10_000, Infinity].map((loose) => run(load(0.9), loose).fates);
  expect(one!.map(({ code, endMs }) => [code, endMs])).toEqual(other!.map(({ code, endMs }) => [code, endMs]));
  expect(one!.every(({ code }) => code === "ok")).toBe(true);
});

test("a burst of ten batches for each slot is answered to the last", () => {
  const offered = Array.from({ length: 10 * WORKERS * ROWS_MAX }, () => ({ ...LONG, atMs: 1 }));
  expect(run(offered, 10_000).fates.every(({ code }) => code === "ok")).toBe(true);
});

test("deadlines that bind are kept beside twice what the slots can do of others", () => {
  const binding = { ...LONG, budgetMs: 60, rate: 0.4 * CAPACITY, forMs: FOR_MS };
  const pool = run(merged(poisson(binding, randomFrom(2)), load(2)), 10_000);
  const own = pool.fates.filter(({ atMs, budgetMs }) => budgetMs === 60 && atMs > WARM_MS);
  const inTime = own.filter(({ code, atMs, endMs }) => code === "ok" && endMs - atMs <= 60);
  expect(inTime.length / own.length).toBeGreaterThan(0.99);
  const { goodput, p99Ms } = outcomeOf(pool);
  expect(goodput).toBeGreaterThan(0.95);
  expect(p99Ms).toBeLessThan(5 * BATCH_MS);
});

test("once the load is over the oldest go first again, and nobody is given up", () => {
  const after = poisson({ ...LONG, rate: 0.8 * CAPACITY, forMs: 1_500 }, randomFrom(3));
  const { fates } = run(
    merged(
      load(2),
      after.map((one) => ({ ...one, atMs: FOR_MS + one.atMs })),
    ),
    10_000,
  );
  const last = fates.filter(({ atMs }) => atMs > FOR_MS + 500);
  expect(last.every(({ code }) => code === "ok")).toBe(true);
  expect(last.map(({ sentMs }) => sentMs)).toEqual(last.map(({ sentMs }) => sentMs).sort((a, b) => a - b));
});

test("nobody waits for requests of class batch: they take as long as they may", () => {
  const offered = load(2).flatMap((one) => (one.atMs < 800 ? [{ ...one, priority: 3 }] : []));
  expect(run(offered, 10_000).fates.every(({ code }) => code === "ok")).toBe(true);
});

test("tenants share by their weights what a queue that stands is served, whoever comes most; who asks for less has it", () => {
  const tenants = new Map([["b", 2]]);
  const weights = { classes: [16, 4, 1], tenants };
  const loads = { a: 6, b: 1.5, c: 0.1 };
  const offered = Object.entries(loads).map(([tenant, factor], seed) =>
    poisson({ ...LONG, tenant, rate: factor * CAPACITY, forMs: FOR_MS }, randomFrom(seed)),
  );
  const pool = run(merged(...offered), 10_000, { weights });
  expect(outcomeOf(pool).goodput).toBeGreaterThan(0.95);
  const later = pool.fates.filter(({ atMs }) => atMs > WARM_MS);
  const served = (name: string): number =>
    later.filter(({ tenant, code }) => tenant === name && code === "ok").length / ((FOR_MS - WARM_MS) * CAPACITY);
  expect(served("c")).toBeGreaterThan(0.085);
  expect(served("a")).toBeGreaterThan(0.25);
  expect(served("a")).toBeLessThan(0.35);
  expect(served("b")).toBeGreaterThan(0.55);
});

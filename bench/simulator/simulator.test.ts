import { describe, expect, test } from "vitest";
import { planBatch } from "@millrace/scheduling";
import { lambda99 } from "./lambda99.ts";
import { feasible, greedy } from "./policies.ts";
import { type Policy, runPool, tracePool } from "./pool.ts";
import { type ReferencePolicy, runReference } from "./reference.ts";

/**
 * What the reference simulator gives: batch time 4 + 0.25 n ms, requests/s of which 99 % are answered within D, for N
 * slots, by each of its policies.
 */
const TABLE = [
  { D: 20, N: 1, greedy: 2_041, edf: 1_773, paced: 2_107 },
  { D: 20, N: 2, greedy: 4_074, edf: 4_531, paced: 5_094 },
  { D: 20, N: 4, greedy: 7_703, edf: 10_422, paced: 11_281 },
  { D: 20, N: 8, greedy: 13_172, edf: 22_906, paced: 23_953 },
  { D: 20, N: 16, greedy: 24_188, edf: 47_469, paced: 49_281 },
  { D: 50, N: 1, greedy: 3_182, edf: 3_092, paced: 3_256 },
  { D: 50, N: 4, greedy: 11_852, edf: 13_867, paced: 14_172 },
  { D: 50, N: 8, greedy: 22_922, edf: 28_500, paced: 28_781 },
  { D: 100, N: 1, greedy: 3_586, edf: 3_564, paced: 3_641 },
  { D: 100, N: 8, greedy: 26_781, edf: 30_406, paced: 30_359 },
] as const;
const LINE = { fixedMs: 4, rowMs: 0.25 };

// CI takes the rows with few slots, in which a run is short; TEST_SHARE=full takes all.
const isWhole = process.env["TEST_SHARE"] === "full";
const rows = isWhole ? TABLE : TABLE.filter(({ N, D }) => N <= 4 && D <= 50);
const seeds = isWhole ? [1, 2, 3] : [1];

type Row = { readonly D: number; readonly N: number };

/** What no policy without holding can exceed on average: (N/b)(1 − a/D), in requests/ms. */
const limitOf = ({ D, N }: Row): number => (N / LINE.rowMs) * (1 - LINE.fixedMs / D);

/** Requests/s, the mean over the seeds. */
function meanRate(row: Row, share: (rate: number, seed: number) => number): number {
  const rates = seeds.map((seed) => lambda99((rate) => share(rate, seed), limitOf(row)));
  return (1_000 * rates.reduce((sum, rate) => sum + rate, 0)) / rates.length;
}

const reference = (row: Row, policy: ReferencePolicy): number =>
  meanRate(row, (lam, seed) => runReference({ a: LINE.fixedMs, b: LINE.rowMs, ...row, lam, policy, seed }).ok);

const simulated = (row: Row, policy: Policy): number =>
  meanRate(row, (rate, seed) => runPool({ line: LINE, slots: row.N, rate, budgetMs: row.D, policy, seed }).inTime);

/** Equal but for the noise of the draws. */
function expectNearOne(ratio: number): void {
  expect(Math.abs(ratio - 1)).toBeLessThan(0.02);
}

describe.for(rows)("D = $D ms, $N slots", { timeout: 300_000 }, (row) => {
  test("the reference simulator gives the table", () => {
    expectNearOne(reference(row, "greedy") / row.greedy);
    expectNearOne(reference(row, "paced") / row.paced);
  });

  test("ours gives the same for the same policies", () => {
    expectNearOne(simulated(row, greedy) / reference(row, "greedy"));
    expectNearOne(simulated(row, feasible) / reference(row, "edf"));
  });

  test("the production policy, which has to measure the rate, is as good as the one that knows it", () => {
    expect(simulated(row, planBatch) / row.paced).toBeGreaterThan(0.97);
  });
});

const OVERLOADED = { line: LINE, slots: 8, budgetMs: 20, policy: planBatch } as const;

test.for([1.2, 2, 5])("at %s times what it can bear it answers nearly as many in time as at its best", (factor) => {
  const best = 23.9;
  const { inTime, late } = runPool({ ...OVERLOADED, rate: factor * best });
  expect(inTime * factor).toBeGreaterThan(0.95);
  expect(late).toBe(0);
});

test("behind the production door, which then lets in what the slots can do, it does so too", () => {
  const behind = { ...OVERLOADED, door: true };
  const best = lambda99((rate) => runPool({ ...behind, rate, requests: 20_000 }).inTime, 25.6, 8);
  expect(best).toBeGreaterThan(23);
  for (const factor of [1.2, 2, 5]) {
    const { inTime, late } = runPool({ ...behind, rate: factor * best });
    expect(inTime * factor, `${factor}`).toBeGreaterThan(0.95);
    expect(late).toBe(0);
  }
});

test("below the limit the door refuses next to nobody whom the policy alone would have served", () => {
  const rate = 0.9 * 23.9;
  const behind = runPool({ ...OVERLOADED, rate, door: true }).inTime;
  expect(behind).toBeGreaterThan(runPool({ ...OVERLOADED, rate }).inTime - 0.002);
});

/** Eight slots, and 30 s each: 25.6 a ms are what full batches of 64 come to. */
const LOOSE = { line: LINE, slots: 8, budgetMs: 30_000, rowsMax: 64, policy: planBatch, door: true } as const;

test.for([2, 5])(
  "at %s times the capacity with 30 s each the queue does not stand, and the slots stay full",
  (factor) => {
    const rate = factor * 25.6;
    const seconds = 3;
    const { requests } = tracePool({
      ...LOOSE,
      rate,
      looseBudgetMs: 10_000,
      requests: Math.round(1_000 * seconds * rate),
    });
    const endMs = requests.at(-1)!.arrivedMs;
    const later = requests.filter(({ arrivedMs }) => arrivedMs > 1_000);
    const latencies = later
      .map(({ latencyMs }) => latencyMs)
      .filter(Number.isFinite)
      .sort((a, b) => a - b);
    const ran = later.filter(({ arrivedMs, latencyMs }) => arrivedMs + latencyMs <= endMs).length;
    expect(ran / (endMs - 1_000) / 25.6).toBeGreaterThan(0.95);
    expect(latencies[Math.floor(0.99 * latencies.length)]).toBeLessThan(60);
    const without = runPool({ ...LOOSE, rate, requests: 60_000 });
    expect(without.p99Ms).toBeGreaterThan(1_000 * (60 / rate) * (1 - 1 / factor) * 0.9);
  },
);

test("at low load nothing waits, and at half load less than without holding", () => {
  const low = runPool({ ...OVERLOADED, rate: 0.5 });
  expect(low.p50Ms).toBe(4.25);
  expect(low.p99Ms).toBe(4.25);
  const half = runPool({ ...OVERLOADED, rate: 12.8 });
  const unheld = runPool({ ...OVERLOADED, rate: 12.8, policy: feasible });
  expect(half.p99Ms).toBeLessThan(0.7 * unheld.p99Ms);
  expect(half.p50Ms).toBeLessThan(unheld.p50Ms);
});

test("where a row costs more than a batch it never holds", () => {
  const options = { line: { fixedMs: 2, rowMs: 8 }, slots: 8, budgetMs: 100, rate: 0.8 };
  expect(runPool({ ...options, policy: planBatch }).p50Ms).toBe(runPool({ ...options, policy: feasible }).p50Ms);
});

test("a hand-over between the runs costs as much as if each batch took so much longer; late timers cost little", () => {
  const options = { line: LINE, slots: 4, budgetMs: 20, policy: planBatch, requests: 20_000 } as const;
  const best = (given: Partial<Parameters<typeof runPool>[0]>): number =>
    lambda99((rate) => runPool({ ...options, ...given, rate }).inTime, 13, 7);
  const ideal = best({});
  const handed = best({ handOverMs: 1 });
  expect(handed).toBeLessThan(0.95 * ideal);
  expect(handed / best({ line: { ...LINE, fixedMs: LINE.fixedMs + 1 } })).toBeCloseTo(1, 1);
  expect(best({ timerLateMs: 0.5 })).toBeGreaterThan(0.93 * ideal);
});

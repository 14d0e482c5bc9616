import { expect, test } from "vitest";
import { modelOf } from "./testing/message-builders.ts";
import { randomFrom } from "./testing/simulated-network.ts";
import { VirtualPool, type VirtualRequest } from "./testing/virtual-pool.ts";

const BUDGET_MS = 196;
const [SLOW_FROM_MS, SLOW_TO_MS, END_MS] = [8_000, 11_000, 20_000];
const timeOf = (rows: number): number => 40 + 2.5 * rows;

type Spell = {
  readonly slots: number;
  readonly slow: number;
  /** Whether one worker alone is slow; default all. */
  readonly isOne?: boolean;
  /** Of what no policy exceeds; default 0.7. */
  readonly load?: number;
};

/** The whole broker while its workers are slow for three seconds: the share in time of what comes in an interval. */
function simulate({ slots, slow, isOne = false, load = 0.7 }: Spell): (fromMs: number, toMs: number) => number {
  const random = randomFrom(slots);
  const usualMs = (_model: number, rows: number): number => timeOf(rows);
  const runMs = (_model: number, rows: number, startMs: number): number =>
    timeOf(rows) * (startMs > SLOW_FROM_MS && startMs < SLOW_TO_MS ? slow : 1);
  const curve = [1, 2, 4, 8, 16, 32, 64].map((rows) => [rows, timeOf(rows)] as const);
  const pool = new VirtualPool({
    models: [modelOf("m", { maxBatchSize: 64, maxHoldMs: 100 })],
    workers: Array.from({ length: slots }, (_, i) => ({
      slots: 1,
      runMs: isOne && i > 0 ? usualMs : runMs,
      curves: [curve],
      samples: 20,
    })),
    latencyMs: 0.3,
    timerLateMs: () => 1.1 * random(),
  });
  const rate = load * (slots / 2.5) * (1 - 40 / BUDGET_MS);
  const requests: VirtualRequest[] = [];
  for (let atMs = 1; atMs < END_MS; atMs += -Math.log(1 - random()) / rate)
    requests.push(pool.submit({ atMs, model: 0, rows: 1, budgetMs: BUDGET_MS }));
  pool.run(END_MS + 1_000);
  return (fromMs, toMs) => {
    const counted = requests.filter(({ atMs }) => atMs >= fromMs && atMs < toMs);
    return counted.filter(({ isOk, atMs, endMs }) => isOk && endMs - atMs <= BUDGET_MS).length / counted.length;
  };
}

test.for([
  // The curve counts in runs, and two slots make few of them.
  { slots: 2, slow: 4, backMs: 4_500 },
  { slots: 4, slow: 2, backMs: 2_000 },
  { slots: 4, slow: 4, backMs: 2_500 },
  { slots: 8, slow: 4, backMs: 2_000 },
  // Nothing can be in time: it is tried once a second.
  { slots: 4, slow: 6, backMs: 5_000 },
  { slots: 8, slow: 6, backMs: 5_000 },
  // There is no other worker to compare with, or to serve meanwhile.
  { slots: 1, slow: 2, load: 0.4, backMs: 2_000 },
  { slots: 1, slow: 4, load: 0.4, backMs: 2_000 },
  { slots: 1, slow: 8, load: 0.4, backMs: 8_000 },
  { slots: 2, slow: 4, isOne: true, load: 0.6, backMs: 2_000 },
  { slots: 4, slow: 4, isOne: true, backMs: 2_000 },
])("$slots slots, $slow times as slow: $backMs ms after it is over as much is in time as before", (one) => {
  const share = simulate(one);
  const before = share(4_000, SLOW_FROM_MS - 500);
  expect(before).toBeGreaterThan(0.98);
  expect(share(SLOW_TO_MS + one.backMs, END_MS) / before).toBeGreaterThanOrEqual(0.97);
});

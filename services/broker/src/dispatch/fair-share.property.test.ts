import { expect, test } from "vitest";
import { modelOf } from "../testing/message-builders.ts";
import { randomFrom } from "../testing/simulated-network.ts";
import { VirtualPool, type VirtualRequest } from "../testing/virtual-pool.ts";

/** Two models on shared slots: a fast one whose batches take 2 ms and a little more, and a slow one of 80 ms and no batches. */
const [FAST, SLOW] = [0, 1] as const;
const SLOW_MS = 80;
const runMs = (model: number, rows: number): number => (model === FAST ? 1.95 + 0.05 * rows : SLOW_MS);
const CURVES = [
  [
    [1, runMs(FAST, 1)],
    [16, runMs(FAST, 16)],
  ],
  [[1, SLOW_MS]],
] as const;

type Pair = readonly [fast: number, slow: number];

type Plan = {
  readonly seed: number;
  readonly slots: number;
  /** What each model asks for, as shares of the time of all slots, were each row a batch. */
  readonly load: Pair;
  readonly budgetMs: Pair;
  readonly share: Pair;
  /** Rows of a batch of the fast one. */
  readonly rowsMax: number;
};

const FOR_MS = 8_000;
const WARM_MS = 1_000;

/** CI takes a few seeds; TEST_SHARE=full takes many. */
const SEEDS = process.env["TEST_SHARE"] === "full" ? 40 : 1;

type Seen = { readonly requests: readonly VirtualRequest[]; readonly computeMs: readonly number[] };

function simulate({ seed, slots, load, budgetMs, share, rowsMax }: Plan): Seen {
  const random = randomFrom(seed);
  const models = [
    modelOf("fast", { maxBatchSize: rowsMax, maxHoldMs: 0, share: share[FAST] }),
    modelOf("slow", { maxBatchSize: 1, share: share[SLOW] }),
  ];
  const workers = Array.from({ length: slots }, () => ({ slots: 1, runMs, curves: CURVES }));
  const pool = new VirtualPool({ models, workers, latencyMs: 0.1, timerLateMs: random });
  const requests: VirtualRequest[] = [];
  for (const model of [FAST, SLOW]) {
    const rate = (load[model] * slots) / runMs(model, 1);
    if (rate === 0) continue;
    for (let atMs = 1; atMs < FOR_MS; atMs += -Math.log(1 - random()) / rate)
      requests.push(pool.submit({ atMs, model, rows: 1, budgetMs: budgetMs[model] }));
  }
  pool.run(FOR_MS);
  return { requests, computeMs: pool.computeMs };
}

/** Of those that came after the first second, which is when both have settled. */
function p99Ms({ requests }: Seen, model: number): number {
  const times = requests.filter((one) => one.model === model && one.isOk && one.atMs > WARM_MS);
  const sorted = times.map(({ atMs, endMs }) => endMs - atMs).sort((a, b) => a - b);
  return sorted[Math.floor(0.99 * sorted.length)]!;
}

const cases = [1, 2, 4, 8].flatMap((slots) => Array.from({ length: SEEDS }, (_, seed) => ({ slots, seed })));

test.for(cases)(
  "$slots slots, seed $seed: a slow model that takes all it can costs a fast one no more than one of its batches",
  (one) => {
    for (const [budgetMs, fastLoad] of [
      [[300, 2_000], 0.3],
      [[5_000, 5_000], 0.45],
    ] as const) {
      const plan: Plan = { ...one, budgetMs, load: [fastLoad, 2], share: [1, 1], rowsMax: 16 };
      const together = simulate(plan);
      const isolated = simulate({ ...plan, load: [fastLoad, 0] });
      expect(p99Ms(together, FAST)).toBeLessThanOrEqual(p99Ms(isolated, FAST) + SLOW_MS);
      // And none of its requests is given up for it.
      for (const { model, isOk, atMs } of together.requests)
        if (model === FAST && atMs < FOR_MS - budgetMs[FAST]) expect(isOk).toBe(true);
    }
  },
);

test.for(cases.filter(({ slots }) => slots <= 4))(
  "$slots slots, seed $seed: models that both want all get compute time by their shares, whatever their budgets",
  (one) => {
    for (const [share, budgetMs] of [
      [
        [1, 1],
        [50, 2_000],
      ],
      [
        [1, 3],
        [5_000, 5_000],
      ],
      [
        [4, 1],
        [2_000, 300],
      ],
    ] as const) {
      const { computeMs } = simulate({ ...one, share, budgetMs, load: [2, 2], rowsMax: 1 });
      const [fast = 0, slow = 0] = computeMs;
      expect(fast + slow).toBeGreaterThan(0.95 * one.slots * FOR_MS);
      // They may differ by a batch of each for every slot.
      const slackMs = (SLOW_MS + 10) * one.slots;
      const due = (slow + fast) * (share[SLOW] / (share[FAST] + share[SLOW]));
      expect(Math.abs(slow - due)).toBeLessThan(slackMs);
    }
  },
);

test.for(cases.filter(({ slots }) => slots <= 4))(
  "$slots slots, seed $seed: a slow model that wants less than its share gets all of it beside a fast one that wants all, and does not wait long",
  (one) => {
    const plan: Plan = { ...one, share: [1, 1], budgetMs: [300, 5_000], load: [2, 0.3], rowsMax: 1 };
    const together = simulate(plan);
    for (const { model, isOk, atMs } of together.requests)
      if (model === SLOW && atMs < FOR_MS - 5_000) expect(isOk).toBe(true);
    // By its slack it would wait for nearly all of its budget.
    expect(p99Ms(together, SLOW)).toBeLessThan(1_500);
  },
);

import { classOf } from "@millrace/protocol";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { Admission } from "./admission.ts";
import { check } from "../testing/auditor.ts";
import { submitItem } from "../testing/message-builders.ts";
import { type Fate, merged, type Offered, OpenLoad, poisson } from "../testing/open-load.ts";
import { randomFrom } from "../testing/simulated-network.ts";

/** Batching pays: 16 rows take twice the time of one. */
const LINE = { fixedMs: 4, rowMs: 0.25 };
const ROWS_MAX = 16;
const BATCH_MS = LINE.fixedMs + LINE.rowMs * ROWS_MAX;
/** Rows a ms of one worker at its best. */
const CAPACITY = ROWS_MAX / BATCH_MS;
const PLAN = { line: LINE, rowsMax: ROWS_MAX, workers: 1 };

const seeds = fc.integer({ min: 0, max: 2 ** 31 });

/** A simulated load takes longer than a unit test does, and much longer on a busy machine. */
vi.setConfig({ testTimeout: 60_000 });

/** A mix of everything: classes, tenants, sizes and budgets, below and above what the workers can do. */
function mixOf(random: () => number, forMs: number, workers = 1): Offered[] {
  const kinds = Array.from({ length: 1 + Math.floor(random() * 4) }, () => ({
    priority: Math.floor(random() * 4),
    tenant: ["", "a", "b"][Math.floor(random() * 3)]!,
    rows: random() < 0.7 ? 1 : 1 + Math.floor(random() * 8),
    budgetMs: 10 + random() * random() * 300,
    rate: (random() * CAPACITY * workers) / 2,
    forMs,
  }));
  return merged(...kinds.map((kind) => poisson(kind, random)));
}

/** Invariant 5, and the order of 13: each batch has the most urgent of each class, and none that is less urgent while others wait. */
test("within a class the earlier deadline runs first, and at most one batch goes before a class that is more urgent", () => {
  let passedOver = 0;
  let batches = 0;
  fc.assert(
    fc.property(seeds, (seed) => {
      const random = randomFrom(seed);
      const onBatch = (batch: readonly Fate[], load: OpenLoad): void => {
        batches++;
        const inBatch = new Set(batch);
        const waiting = load.waiting.filter((fate) => !inBatch.has(fate));
        for (const { priority, atMs, budgetMs } of batch) {
          for (const other of waiting)
            check(
              classOf(other.priority) !== classOf(priority) || other.atMs + other.budgetMs >= atMs + budgetMs - 1e-6,
              `${other.number} was passed over by its class`,
            );
        }
        const first = Math.min(...batch.map(({ priority }) => classOf(priority)));
        for (const other of waiting) {
          if (classOf(other.priority) >= first) continue;
          passedOver++;
          turns.set(other, (turns.get(other) ?? 0) + 1);
        }
        for (const fate of waiting) {
          const run = turns.get(fate) ?? 0;
          if (classOf(fate.priority) >= first) turns.delete(fate);
          check(run <= 1, `${fate.number} was passed over by a less urgent class twice in a row`);
        }
      };
      const turns = new Map<Fate, number>();
      // Shares so large that turns are often owed, and to two classes at a time.
      const options = { weights: { classes: [2, 1, 1], tenants: new Map() } };
      new OpenLoad({ ...PLAN, offered: mixOf(random, 80), options, onBatch }).run();
    }),
    { numRuns: 250 },
  );
  expect(batches).toBeGreaterThan(3_000);
  expect(passedOver).toBeGreaterThan(20);
});

/** Invariant 13. */
test("while more of each class comes than there is room for each gets its share of the rows, however long", () => {
  fc.assert(
    fc.property(
      seeds,
      fc.tuple(fc.integer({ min: 6, max: 20 }), fc.constantFrom(1, 2), fc.constantFrom(1, 4)),
      (seed, [top, low, length]) => {
        const random = randomFrom(seed);
        const weights = [top, 2 * low, low];
        const forMs = 600 * length;
        const kinds = weights.map((_, i) =>
          poisson({ priority: i + 1, tenant: "", rows: 1, budgetMs: 400, rate: 1.5 * CAPACITY, forMs }, random),
        );
        const options = { weights: { classes: weights, tenants: new Map() } };
        const load = new OpenLoad({ ...PLAN, offered: merged(...kinds), options }).run(forMs);
        const got = weights.map(
          (_, i) => load.fates.filter(({ priority, sentMs }) => priority === i + 1 && sentMs >= 0).length,
        );
        const all = got.reduce((a, b) => a + b, 0);
        const sum = weights.reduce((a, b) => a + b, 0);
        check(all > 0.8 * CAPACITY * forMs, `only ${all} rows ran`);
        for (const [i, rows] of got.entries()) {
          const share = (weights[i]! / sum) * all;
          check(rows >= share - 2 * ROWS_MAX, `class ${i} got ${rows} of ${all} rows, its share is ${share}`);
        }
      },
    ),
    { numRuns: 12 },
  );
});

/** Invariant 13. */
test("a flood of less urgent requests delays a class by one running batch at most", () => {
  const percentile = (fates: readonly Fate[], share: number): number => {
    const took = fates
      .filter(({ priority, code }) => priority === 1 && code === "ok")
      .map(({ atMs, endMs }) => endMs - atMs)
      .sort((a, b) => a - b);
    return took[Math.floor((took.length - 1) * share)]!;
  };
  fc.assert(
    fc.property(seeds, fc.constantFrom(0.02, 0.05, 0.2, 0.5), (seed, part) => {
      const random = randomFrom(seed);
      const forMs = 400;
      const urgent = poisson(
        { priority: 1, tenant: "", rows: 1, budgetMs: 2_000, rate: part * CAPACITY, forMs },
        random,
      );
      const rest = [2, 3].map((priority) =>
        poisson({ priority, tenant: "", rows: 1, budgetMs: 300, rate: CAPACITY, forMs }, random),
      );
      // Their share is too small to count: what remains is the order.
      const options = { weights: { classes: [100_000, 1, 1], tenants: new Map() } };
      const alone = new OpenLoad({ ...PLAN, offered: urgent, options }).run();
      const flooded = new OpenLoad({ ...PLAN, offered: merged(urgent, ...rest), options }).run();
      for (const share of [0.5, part < 0.1 ? 1 : 0.99]) {
        const [without, with_] = [percentile(alone.fates, share), percentile(flooded.fates, share)];
        check(with_ <= without + BATCH_MS + 1.5, `p${share * 100}: ${without} ms alone, ${with_} ms in the flood`);
      }
    }),
    { numRuns: 20 },
  );
});

/** Invariant 12. */
test("backlogged tenants of a class get shares by weight, within one batch and what is let in ahead", () => {
  fc.assert(
    fc.property(
      seeds,
      fc.array(fc.tuple(fc.constantFrom(0.5, 1, 2), fc.integer({ min: 2, max: 10 })), { minLength: 2, maxLength: 4 }),
      fc.integer({ min: 1, max: 3 }),
      (seed, tenants, workers) => {
        const random = randomFrom(seed);
        const [forMs, budgetMs] = [600, 40];
        const capacity = CAPACITY * workers;
        const sum = tenants.reduce((all, [weight]) => all + weight, 0);
        const kinds = tenants.map(([weight, times], i) =>
          poisson(
            { priority: 0, tenant: `t${i}`, rows: 1, budgetMs, rate: (times * capacity * weight) / sum, forMs },
            random,
          ),
        );
        const byName = new Map(tenants.map(([weight], i) => [`t${i}`, weight]));
        const options = { weights: { classes: [16, 4, 1], tenants: byName } };
        const load = new OpenLoad({ ...PLAN, workers, offered: merged(...kinds), options }).run(forMs);
        const ran = load.fates.filter(({ sentMs }) => sentMs >= 100);
        const got = tenants.map(([weight], i) => ran.filter(({ tenant }) => tenant === `t${i}`).length / weight);
        check(ran.length > 0.6 * capacity * (forMs - 100), `only ${ran.length} rows ran`);
        const smallest = Math.min(...tenants.map(([weight]) => weight));
        const window = (ROWS_MAX + capacity * budgetMs) / smallest;
        const apart = Math.max(...got) - Math.min(...got);
        check(apart <= window, `shares ${got.join(", ")} are ${apart} apart, more than ${window}`);
      },
    ),
    { numRuns: 8 },
  );
});

/** Invariant 9. */
test("a later deadline, a worker more, or less that waits never turns a yes into a no", () => {
  const seen = { yes: 0, late: 0, would_delay: 0 };
  const admission = new Admission({ queueRowsMax: 1e6, queueBytesMax: 1e9 });
  fc.assert(
    fc.property(seeds, (seed) => {
      const random = randomFrom(seed);
      const workers = 1 + Math.floor(random() * 3);
      const offered = mixOf(random, 60, workers).map((one) => ({ ...one, tenant: "" }));
      const load = new OpenLoad({ ...PLAN, workers, offered }).run(10 + random() * 50);
      const { driver, gateway } = load;
      const [model] = driver.core.models.all;
      const rows = random() < 0.6 ? 1 : 1 + Math.floor(random() * ROWS_MAX);
      const given = { rows, priority: Math.floor(random() * 4) };
      const budgets = Array.from({ length: 24 }, () => random() * random() * 200).sort((a, b) => a - b);
      const answers = (): boolean[] =>
        budgets.map((budgetMs) => {
          const item = submitItem(1e9, { ...given, budgetUs: Math.round(budgetMs * 1000) });
          const verdict = admission.judge(model, item, driver.nowMs);
          check(verdict === undefined || "code" in verdict, "one tenant takes no place from itself");
          const why = verdict === undefined ? "yes" : verdict.why;
          if (why in seen) seen[why as keyof typeof seen]++;
          return verdict === undefined;
        });
      let before = answers();
      const first = before.indexOf(true);
      check(first < 0 || before.slice(first).every(Boolean), `${budgets.join()}: ${before.join()}`);
      const isNoWorse = (what: string): void => {
        const now = answers();
        for (const [i, yes] of before.entries()) check(!yes || now[i]!, `${what}: ${budgets[i]} ms was in time before`);
        before = now;
      };
      for (const { number } of load.waiting.filter(() => random() < 0.3)) {
        gateway.cancel(number);
        isNoWorse(`without ${number}`);
      }
      load.addWorker();
      isNoWorse("with a worker more");
    }),
    { numRuns: 400 },
  );
  // Otherwise nothing was shown.
  for (const [why, count] of Object.entries(seen)) expect(count, why).toBeGreaterThan(100);
});

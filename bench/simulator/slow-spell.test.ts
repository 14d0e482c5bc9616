import { expect, test } from "vitest";
import { runSpell, SLOW_FROM_MS } from "./slow-spell.ts";

const STRETCHES = 3;

/** The share in time of the three stretches that begin at `fromMs` or after it. */
function inTimeFrom(fromMs: number, stretches: ReturnType<typeof runSpell>["stretches"]): number {
  const after = stretches.filter((one) => one.fromMs >= fromMs).slice(0, STRETCHES);
  expect(after).toHaveLength(STRETCHES);
  return after.reduce((sum, { inTime }) => sum + inTime, 0) / STRETCHES;
}

test.for([0.25, 1.5, 2, 3, 4].flatMap((slow) => [300, 1_000, 3_000, 10_000].map((slowMs) => ({ slow, slowMs }))))(
  "two seconds after $slowMs ms in which runs took $slow times as long, as much is in time as before",
  ({ slow, slowMs }) => {
    for (const load of [0.3, 0.7]) {
      const { stretches } = runSpell({ slow, slowMs, load });
      const before = inTimeFrom(SLOW_FROM_MS - 2_000 * STRETCHES, stretches);
      expect(before).toBeGreaterThan(0.98);
      const endMs = SLOW_FROM_MS + slowMs;
      expect(inTimeFrom(endMs + 2_000, stretches) / before).toBeGreaterThanOrEqual(0.97);
      expect(inTimeFrom(endMs + 20_000, stretches) / before).toBeGreaterThanOrEqual(0.99);
    }
  },
);

test.for([6, 12].flatMap((slow) => [3_000, 10_000].map((slowMs) => ({ slow, slowMs }))))(
  "where nothing could be in time for $slowMs ms, as runs took $slow times as long, single tries, one a second, find the way back",
  ({ slow, slowMs }) => {
    const { stretches } = runSpell({ slow, slowMs, load: 0.7 });
    const endMs = SLOW_FROM_MS + slowMs;
    expect(inTimeFrom(endMs + 6_000, stretches)).toBeGreaterThanOrEqual(0.97);
  },
);

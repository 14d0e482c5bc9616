import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test, vi } from "vitest";
import { Pacer } from "./pacer.ts";

type Heard = { readonly due: number; readonly atMs: number };

/** What a pacer says of these arrivals, to the last. Times from the start. */
async function hear(arrivalsMs: Float64Array): Promise<Heard[]> {
  const heard: Heard[] = [];
  const done = Promise.withResolvers<void>();
  const startMs = performance.now() + 200;
  const pacer = new Pacer(arrivalsMs, startMs, (due) => {
    heard.push({ due, atMs: performance.now() - startMs });
    if (due === arrivalsMs.length) done.resolve();
  });
  await done.promise;
  await pacer.stop();
  return heard;
}

const even = (count: number, fromMs: number, everyMs: number): number[] =>
  Array.from({ length: count }, (_, i) => fromMs + i * everyMs);

test.each([
  { name: "lone ones", arrivals: even(20, 5, 7) },
  { name: "dense ones", arrivals: even(3_000, 0, 0.05) },
  { name: "a burst", arrivals: even(500, 3, 0) },
  {
    name: "dense ones, a pause, lone ones and dense ones again",
    arrivals: [...even(1_000, 0, 0.05), ...even(3, 120, 20), ...even(1_000, 220, 0.05), 300],
  },
])("hears of all arrivals once, and of none before its time: $name", async ({ arrivals }) => {
  const heard = await hear(Float64Array.from(arrivals));
  expect(heard.at(-1)?.due).toBe(arrivals.length);
  for (const [i, { due, atMs }] of heard.entries()) {
    expect(due).toBeGreaterThan(heard[i - 1]?.due ?? 0);
    // The two threads read one clock, each from a start of its own.
    expect(arrivals[due - 1]! - atMs).toBeLessThan(0.05);
  }
});

/** How often this thread sleeps: counted, and done all the same. */
function countSleeps(): () => number {
  const spy = vi.spyOn(Atomics, "wait");
  onTestFinished(() => spy.mockRestore());
  return () => spy.mock.calls.length;
}

test("where arrivals are dense this thread sleeps from look to look, and the loop goes on between them", async () => {
  const sleeps = countSleeps();
  let turns = 0;
  let isOver = false;
  const turn = (): void => {
    turns += 1;
    if (!isOver) setImmediate(() => void sleep(0).then(turn));
  };
  const arrivals = even(6_000, 0, 0.05);
  turn();
  const heard = await hear(Float64Array.from(arrivals));
  isOver = true;
  expect(heard.length).toBeLessThan(arrivals.length / 3);
  // Hundreds; few on a machine that is busy, where it wakes too late to sleep again.
  expect(sleeps()).toBeGreaterThan(10);
  expect(turns).toBeGreaterThan(10);
});

test("where arrivals are sparse this thread never sleeps", async () => {
  const sleeps = countSleeps();
  await hear(Float64Array.from(even(200, 0, 1)));
  expect(sleeps()).toBe(0);
});

test("who stops it hears nothing more", async () => {
  const arrivalsMs = Float64Array.from(even(20_000, 0, 0.05));
  let last = 0;
  const heard = Promise.withResolvers<void>();
  const pacer = new Pacer(arrivalsMs, performance.now(), (due) => {
    last = due;
    if (due > 500) heard.resolve();
  });
  await heard.promise;
  await pacer.stop();
  const stoppedAt = last;
  await sleep(50);
  expect(last).toBe(stoppedAt);
});

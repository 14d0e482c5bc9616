import { expect, test } from "vitest";
import { type Column, COLUMNS, WINDOW_S } from "./columns.ts";
import { type ModelReading, Sampler } from "./sampler.ts";

/** In ms. */
const BOUNDS = [1, 2, 4, 8];

function reading(given: Partial<ModelReading> = {}): ModelReading {
  return {
    name: "digits",
    outcomes: [0, 0, 0, 0, 0],
    residence: [0, 0, 0, 0, 0],
    stageMs: [0, 0, 0, 0, 0],
    answered: 0,
    batchRows: { bounds: [1, 2, 4, 8], counts: [0, 0, 0, 0, 0], count: 0, sum: 0 },
    busyS: 0,
    queued: 0,
    oldestMs: 0,
    open: 0,
    workers: 1,
    slots: 1,
    ...given,
  };
}

/** A sampler that is given a reading at each full second. */
class Clock {
  readonly sampler = new Sampler({ bounds: BOUNDS, otherModels: "", nowMs: 0 });
  nowMs = 0;

  tick(readings: readonly ModelReading[], afterMs = 1_000): void {
    this.nowMs += afterMs;
    this.sampler.sample(readings, { nowMs: this.nowMs, wallMs: 1e12 + this.nowMs }, 3);
  }

  latest(model?: string): Readonly<Partial<Record<Column, number>>> {
    const values = this.sampler.line(model)?.latest ?? [];
    return Object.fromEntries(COLUMNS.map((column, i) => [column, values[i]]));
  }
}

test("a sample is what was added since the one before, per second", () => {
  const clock = new Clock();
  clock.tick([reading({ outcomes: [100, 3, 0, 0, 0], residence: [100, 0, 0, 0, 0] })]);
  const batchRows = { bounds: [1, 2, 4, 8], counts: [4, 0, 0, 6, 0], count: 10, sum: 52 };
  // In the order of BROKER_STAGES.
  const stageMs = [50, 0, 100, 400, 50];
  const later = { outcomes: [300, 3, 0, 1, 0], residence: [100, 200, 0, 0, 0], answered: 200, stageMs, busyS: 1.5 };
  clock.tick([reading({ ...later, batchRows, queued: 7, oldestMs: 12.5, open: 9 })], 2_000);
  expect(clock.latest("digits")).toEqual({
    at: 1e9 + 3,
    ok: 100,
    shed: 0,
    expired: 0,
    error: 0.5,
    cancelled: 0,
    p50: 1.5,
    p95: 1.95,
    p99: 1.99,
    broker_queue: 0.25,
    batch_wait: 0.5,
    compute: 2,
    network: 0.25,
    retry: 0,
    queued: 7,
    oldest_ms: 12.5,
    open: 9,
    rows_1: 2,
    rows_4: 0,
    rows_8: 3,
    rows_16: 0,
    rows_32: 0,
    rows_64: 0,
    rows_more: 0,
    batch_rows: 5.2,
    busy: 0.75,
    slots: 1,
  });
});

test("where nothing happened there are no quantiles and no means, and the rates are 0", () => {
  const clock = new Clock();
  clock.tick([reading()]);
  const { ok, p99, compute, batch_rows } = clock.latest("digits");
  expect({ ok, p99, compute, batch_rows }).toEqual({ ok: 0, p99: NaN, compute: NaN, batch_rows: NaN });
});

test("all models together are their sum, and quantiles are of all requests, not means of quantiles", () => {
  const clock = new Clock();
  const fast = reading({
    name: "fast",
    outcomes: [90, 0, 0, 0, 0],
    residence: [90, 0, 0, 0, 0],
    queued: 1,
    oldestMs: 5,
  });
  const slow = reading({
    name: "slow",
    outcomes: [10, 0, 0, 0, 0],
    residence: [0, 0, 0, 10, 0],
    queued: 2,
    oldestMs: 3,
  });
  clock.tick([fast, slow]);
  const { ok, p50, p95, queued, oldest_ms, slots } = clock.latest();
  expect({ ok, queued, oldest_ms, slots }).toEqual({ ok: 100, queued: 3, oldest_ms: 5, slots: 3 });
  expect(p50).toBeCloseTo(50 / 90, 3);
  expect(p95).toBe(6);
});

test("a model that comes later counts from its beginning, one that leaves takes nothing back, one that is anew begins anew", () => {
  const clock = new Clock();
  clock.tick([reading({ outcomes: [10, 0, 0, 0, 0] })]);
  clock.tick([reading({ outcomes: [10, 0, 0, 0, 0] }), reading({ name: "late", outcomes: [5, 0, 0, 0, 0] })]);
  expect(clock.latest().ok).toBe(5);
  clock.tick([reading({ name: "late", outcomes: [5, 0, 0, 0, 0] })]);
  expect(clock.latest().ok).toBe(0);
  clock.tick([reading({ name: "late", outcomes: [2, 0, 0, 0, 0] })]);
  expect(clock.latest().ok).toBe(2);
  expect([...clock.sampler.line(undefined)!.totals]).toEqual([17, 0, 0, 0, 0]);
});

test("the last 15 minutes are kept", () => {
  const clock = new Clock();
  for (let i = 0; i < WINDOW_S + 100; i++) clock.tick([reading({ queued: i })]);
  const columns = clock.sampler.line("digits")!.ring.columns();
  const queued = columns[COLUMNS.indexOf("queued")]!;
  expect([queued.length, queued[0], queued.at(-1)]).toEqual([WINDOW_S, 100, WINDOW_S + 99]);
});

test("models beyond the bound have no history, and count in the sum; what belongs to no model is not listed", () => {
  const clock = new Clock();
  const names = Array.from({ length: 70 }, (_, i) => `model ${i}`);
  clock.tick(["", ...names].map((name) => reading({ name, outcomes: [1, 0, 0, 0, 0] })));
  const { shown, more } = clock.sampler.models();
  expect([shown.length, more, clock.latest().ok]).toEqual([64, 6, 71]);
  expect([clock.sampler.line("model 69"), clock.sampler.line("")]).toEqual([undefined, undefined]);
});

test("a sample of a hundred models takes far less than what would hold up requests", () => {
  const clock = new Clock();
  const readings = Array.from({ length: 100 }, (_, i) => reading({ name: `model ${i}` }));
  for (let i = 0; i < 20; i++) clock.tick(readings);
  // Of this thread alone: what else the machine does is not the sampler's.
  const before = process.threadCpuUsage();
  for (let i = 0; i < 50; i++) clock.tick(readings);
  const { user, system } = process.threadCpuUsage(before);
  expect((user + system) / 1000 / 50).toBeLessThan(10);
});

import { expect, test } from "vitest";
import { WorkTally } from "../models/work-tally.ts";
import { type WorkerReading, WorkerTable } from "./worker-table.ts";

function worker(given: Partial<WorkerReading> = {}): WorkerReading {
  const none = { slots: 1, credits: 2, out: 0, runningMs: 0, work: [], serves: new Set(["digits"]) };
  return { id: "a", name: "worker-1", state: "active", ...none, ...given };
}

class Watch {
  readonly table = new WorkerTable();
  nowMs = 0;

  tick(readings: readonly WorkerReading[], afterMs = 1_000): void {
    this.nowMs += afterMs;
    this.table.update(readings, { nowMs: this.nowMs, wallMs: 1e12 + this.nowMs });
  }

  rows(model?: string): readonly (readonly [string, string, number])[] {
    return this.table.rows(model).shown.map(({ name, state, since }) => [name, state, since - 1e9]);
  }
}

test("a worker that is missing is lost at once, stays for five minutes, and is dropped", () => {
  const watch = new Watch();
  watch.tick([worker()]);
  expect(watch.rows()).toEqual([["worker-1", "active", 1]]);
  watch.tick([]);
  expect(watch.rows()).toEqual([["worker-1", "lost", 2]]);
  watch.tick([], 299_000);
  expect(watch.rows()).toEqual([["worker-1", "lost", 2]]);
  watch.tick([], 2_000);
  expect(watch.rows()).toEqual([]);
});

test("the same name on another connection is another row; those that are there come first", () => {
  const watch = new Watch();
  watch.tick([worker(), worker({ id: "b", name: "worker-10" }), worker({ id: "c", name: "worker-2" })]);
  watch.tick([worker({ id: "b", name: "worker-10" }), worker({ id: "c", name: "worker-2" }), worker({ id: "d" })]);
  expect(watch.rows().map(([name, state]) => `${name} ${state}`)).toEqual([
    "worker-1 active",
    "worker-2 active",
    "worker-10 active",
    "worker-1 lost",
  ]);
});

test("one that has said that it leaves has stopped, even where nobody looked in between", () => {
  const watch = new Watch();
  watch.tick([worker(), worker({ id: "b", name: "worker-2" })]);
  watch.table.drains("worker-2");
  watch.tick([worker({ state: "draining" })]);
  expect(watch.rows()).toEqual([
    ["worker-1", "draining", 2],
    ["worker-2", "stopped", 2],
  ]);
});

test("a worker is busy while a run lasts that is longer than what the table looks back", () => {
  const watch = new Watch();
  for (let s = 0; s <= 8; s++) watch.tick([worker({ slots: 2, runningMs: 1_000 * s })]);
  expect(watch.table.rows(undefined).shown[0]).toMatchObject({ busy: 0.5, batchesPerS: 0 });
});

test("rates are over the last five seconds, batch times are of the model that is looked at", () => {
  const digits = new WorkTally();
  const faces = new WorkTally();
  const reading = worker({
    slots: 2,
    work: [
      { model: "digits", tally: digits },
      { model: "faces", tally: faces },
    ],
  });
  const watch = new Watch();
  watch.tick([reading]);
  for (let i = 0; i < 10; i++) digits.record(8, 500);
  for (let i = 0; i < 10; i++) faces.record(3, 100);
  watch.tick([reading]);
  expect(watch.table.rows(undefined).shown).toMatchObject([
    {
      batchesPerS: 20,
      rowsPerS: 110,
      busy: 3,
      batchMs: [
        [4, 100],
        [8, 500],
      ],
    },
  ]);
  expect(watch.table.rows("faces").shown[0]!.batchMs).toEqual([[4, 100]]);
  expect(watch.table.rows("unknown").shown).toEqual([]);
  for (let i = 0; i < 6; i++) watch.tick([reading]);
  expect(watch.table.rows(undefined).shown).toMatchObject([{ batchesPerS: 0, rowsPerS: 0, busy: 0 }]);
});

test("it is bounded: in rows that are told, and in workers that are gone", () => {
  const watch = new Watch();
  const many = Array.from({ length: 300 }, (_, i) => worker({ id: `${i}`, name: `worker-${i}` }));
  watch.tick(many);
  expect([watch.table.rows(undefined).shown.length, watch.table.rows(undefined).more]).toEqual([200, 100]);
  watch.tick([]);
  expect([watch.table.rows(undefined).shown.length, watch.table.rows(undefined).more]).toEqual([50, 0]);
});

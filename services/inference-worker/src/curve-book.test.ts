import { encodeMessage, LIMITS } from "@millrace/protocol";
import { GOLDEN_MESSAGES } from "@millrace/protocol/testing";
import { expect, test } from "vitest";
import { CurveBook } from "./curve-book.ts";

const owner = { model: "m", version: "1", fingerprint: "kind" };
const point = { rows: 4, q50Ms: 2, q95Ms: 3, samples: 20 };
const kept = { ...owner, bucket: "", points: [point] };

test("what the warm-up and what runs have shown is announced, bucket by bucket", () => {
  const book = new CurveBook();
  expect(book.add(0, owner)).toBe(0);
  book.warmedUp(0, "", [{ rows: 1, timesMs: [1, 1, 3] }]);
  book.record(0, { bucket: "2x2", rows: 8, timeMs: 5 });
  expect(book.announced(0)).toEqual([
    { rows: 8, q50Us: 5_000, q95Us: 5_000, samples: 1, bucket: "2x2" },
    { rows: 1, q50Us: 1_000, q95Us: 3_000, samples: 3, bucket: "" },
  ]);
  expect(book.announced(7)).toEqual([]);
  book.record(7, { bucket: "", rows: 1, timeMs: 1 });
});

test("curves of this worker's kind are taken, of others not; what is its own comes first", () => {
  const book = new CurveBook([kept, { ...kept, fingerprint: "other", points: [{ ...point, rows: 9 }] }]);
  const own = [
    {
      ...kept,
      points: [
        { ...point, q50Ms: 1 },
        { ...point, rows: 8 },
      ],
    },
  ];
  expect(book.add(0, owner, [...own, { ...kept, fingerprint: "foreign", points: [{ ...point, rows: 77 }] }])).toBe(2);
  expect(book.page().curves).toMatchObject([
    {
      ...owner,
      bucket: "",
      points: [
        { rows: 4, q50_ms: 1 },
        { rows: 8, q50_ms: 2 },
      ],
    },
  ]);
});

test("what has changed is given once, a page a kind", () => {
  const book = new CurveBook();
  book.add(0, owner, [kept]);
  book.add(1, { ...owner, model: "n", fingerprint: "other" });
  expect(book.takeChanged()).toEqual([]);
  book.record(0, { bucket: "", rows: 1, timeMs: 1 });
  expect(book.takeChanged()).toMatchObject([
    { fingerprint: "kind", page: { curves: [{ ...owner, points: [{ rows: 1 }, { rows: 4 }] }] } },
  ]);
  expect(book.takeChanged()).toEqual([]);
});

test("clients that come up with ever new shapes do not fill the book, nor drive out what is in use; MODELS holds what fits", () => {
  const book = new CurveBook();
  book.add(0, owner);
  for (let i = 0; i < 1_000; i++) {
    for (let rows = 1; rows <= 100; rows++) book.record(0, { bucket: `${i}`, rows, timeMs: rows });
    book.record(0, { bucket: "", rows: 1, timeMs: 1 });
  }
  expect(book.page().curves).toHaveLength(64);
  const announced = book.announced(0);
  expect(announced).toHaveLength(LIMITS.list);
  expect(announced[0]).toMatchObject({ bucket: "", rows: 1 });
});

test("the more models, the fewer points of each; the smallest and the largest size are among them", () => {
  const book = new CurveBook();
  for (let model = 0; model < LIMITS.list; model++) book.add(model, owner);
  for (let rows = 1; rows <= 64; rows++) book.record(5, { bucket: "", rows, timeMs: rows });
  const rows = book.announced(5).map(({ rows }) => rows);
  expect(rows).toHaveLength(14);
  expect([rows[0], rows.at(-1)]).toEqual([1, 64]);
});

test("the curves of all models take half of the header of MODELS at most, however long the names of buckets and the times are", () => {
  const book = new CurveBook();
  const [models, buckets] = [32, 24];
  for (let model = 0; model < models; model++) {
    book.add(model, owner);
    for (let bucket = 0; bucket < buckets; bucket++) {
      const name = `${bucket}`.padEnd(LIMITS.nameBytes, "x");
      const points = Array.from({ length: 100 }, (_, i) => ({ rows: 157 + i, timeMs: 6e9 }));
      for (const { rows, timeMs } of points) book.record(model, { bucket: name, rows, timeMs });
    }
  }
  const entry = GOLDEN_MESSAGES.flatMap(({ message }) => (message.command === "MODELS" ? message.models : []))[0];
  const bytesWith = (curves: boolean): number => {
    const list = Array.from({ length: models }, (_, index) => ({
      ...entry!,
      curve: curves ? book.announced(index) : [],
    }));
    return encodeMessage({ command: "MODELS", revision: 1, models: list }, { epoch: "0".repeat(16), seq: 0 })[0]!
      .byteLength;
  };
  const bytes = bytesWith(true) - bytesWith(false);
  expect(bytes).toBeGreaterThan(0.4 * LIMITS.headerBytes);
  expect(bytes).toBeLessThanOrEqual(LIMITS.headerBytes / 2);
});

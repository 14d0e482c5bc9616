import fc from "fast-check";
import { expect, test } from "vitest";
import { Curve } from "./curve.ts";
import { CurvePageError, curvePage, parseCurvePage } from "./curve-page.ts";

const owner = { model: "m", version: "1", bucket: "2x3", fingerprint: "kind" };

function curveOf(times: readonly (readonly [rows: number, ms: number])[]): Curve {
  const curve = new Curve();
  for (const [rows, ms] of times) curve.record(rows, ms);
  return curve;
}

test("a page shows points and line, and null where there is no line", () => {
  const curve = curveOf([
    [1, 3],
    [1, 3],
    [8, 10],
  ]);
  expect(
    curvePage([
      { ...owner, curve },
      { ...owner, bucket: "", curve: curveOf([[4, 1]]) },
    ]),
  ).toEqual({
    format: "millrace-curves/1",
    curves: [
      {
        ...owner,
        points: [
          { rows: 1, q50_ms: 3, q95_ms: 3, samples: 2 },
          { rows: 8, q50_ms: 10, q95_ms: 10, samples: 1 },
        ],
        line: { a_ms: expect.closeTo(2), b_ms: expect.closeTo(1) },
      },
      { ...owner, bucket: "", points: [{ rows: 4, q50_ms: 1, q95_ms: 1, samples: 1 }], line: null },
    ],
  });
});

test("what is read back is what was written, and a curve seeded with it gives the same page", () => {
  const time = fc.double({ min: 0.001, max: 1e6, noNaN: true });
  const sample = fc.tuple(fc.integer({ min: 1, max: 256 }), fc.tuple(time, time));
  fc.assert(
    fc.property(fc.array(sample, { maxLength: 40 }), (samples) => {
      const curve = curveOf(samples.flatMap(([rows, times]) => times.map((ms) => [rows, ms] as const)));
      const [read] = parseCurvePage(JSON.stringify(curvePage([{ ...owner, curve }])));
      expect(read).toEqual({ ...owner, points: curve.points() });
      const seeded = new Curve();
      seeded.seed(read!.points);
      for (const [i, point] of seeded.points().entries()) {
        expect(point.q50Ms).toBeCloseTo(curve.points()[i]!.q50Ms, 6);
        expect(point.q95Ms).toBeCloseTo(curve.points()[i]!.q95Ms, 6);
      }
    }),
  );
});

const good = { rows: 1, q50_ms: 1, q95_ms: 2, samples: 3 };
const pageOf = (point: unknown, more: object = {}): string =>
  JSON.stringify({ format: "millrace-curves/1", curves: [{ ...owner, points: [point], ...more }] });

test.each<[string, string, string]>([
  ["half a file", pageOf(good).slice(0, -5), "is not JSON"],
  ["something else", "[]", 'does not say "format": "millrace-curves/1"'],
  ["a later format", JSON.stringify({ format: "millrace-curves/2", curves: [] }), "does not say"],
  ["no list", JSON.stringify({ format: "millrace-curves/1", curves: {} }), "has no list of curves"],
  ["a curve that is none", JSON.stringify({ format: "millrace-curves/1", curves: [null] }), "curves[0] is no object"],
  ["no kind", pageOf(good, { fingerprint: undefined }), "curves[0].fingerprint is no text"],
  ["a name without end", pageOf(good, { bucket: "x".repeat(257) }), "curves[0].bucket is no text"],
  ["no points", pageOf(good, { points: "none" }), "curves[0].points is no list"],
  ["a point that is none", pageOf(null), "curves[0].points[0]: rows"],
  ["half a row", pageOf({ ...good, rows: 0.5 }), "curves[0].points[0]: rows"],
  ["no samples", pageOf({ ...good, samples: 0 }), "curves[0].points[0]: rows and samples"],
  ["a time as text", pageOf({ ...good, q50_ms: "1" }), "q50_ms and q95_ms"],
  ["quantiles the wrong way round", pageOf({ ...good, q95_ms: 0.5 }), "q50_ms and q95_ms"],
])("a page is refused as a whole: %s", (_, text, message) => {
  expect(() => parseCurvePage(text)).toThrow(CurvePageError);
  expect(() => parseCurvePage(text)).toThrow(message);
});

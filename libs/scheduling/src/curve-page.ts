import type { CurvePoint, Line } from "./curve.ts";

/** What a curve is of: a model version, a shape bucket and a kind of worker. The kind says which runs it is good for. */
export type CurveOwner = {
  readonly model: string;
  readonly version: string;
  readonly bucket: string;
  readonly fingerprint: string;
};

/** A curve outside of memory. Points ascend by rows. */
export type KeptCurve = CurveOwner & { readonly points: readonly CurvePoint[] };

/** Curves as JSON: on admin ports, in a worker's folder of curves, and in the file that seeds curves. Times in ms. */
export type CurvePage = {
  readonly format: typeof CURVE_FORMAT;
  readonly curves: readonly (CurveOwner & {
    readonly points: readonly {
      readonly rows: number;
      readonly q50_ms: number;
      readonly q95_ms: number;
      readonly samples: number;
    }[];
    /** Batch time ≈ a_ms + b_ms · rows; null below two sizes. For people: it follows from the points. */
    readonly line: { readonly a_ms: number; readonly b_ms: number } | null;
  })[];
};

/** The number is one more with each change that older readers would misread. */
const CURVE_FORMAT = "millrace-curves/1";

/** Bounds of a page that is read: it may come from anywhere. */
const PAGE_LENGTH_MAX = 64 * 1024 * 1024;
const NAME_LENGTH_MAX = 256;
const POINTS_MAX = 1_024;

export function curvePage(
  curves: Iterable<CurveOwner & { readonly curve: { points(): readonly CurvePoint[]; line(): Line | undefined } }>,
): CurvePage {
  return {
    format: CURVE_FORMAT,
    curves: Array.from(curves, ({ model, version, bucket, fingerprint, curve }) => {
      const line = curve.line();
      return {
        model,
        version,
        bucket,
        fingerprint,
        points: curve
          .points()
          .map(({ rows, q50Ms, q95Ms, samples }) => ({ rows, q50_ms: q50Ms, q95_ms: q95Ms, samples })),
        line: line === undefined ? null : { a_ms: line.fixedMs, b_ms: line.rowMs },
      };
    }),
  };
}

/** What is wrong with a page of curves, in words for whoever gave it. */
export class CurvePageError extends Error {
  override readonly name = "CurvePageError";
}

/**
 * Reads a page; keys that it does not know are passed over.
 * @throws CurvePageError that names the first mistake, whatever the text holds; then none of it counts.
 */
export function parseCurvePage(text: string): KeptCurve[] {
  if (text.length > PAGE_LENGTH_MAX) throw new CurvePageError(`is longer than ${PAGE_LENGTH_MAX} characters`);
  let page: unknown;
  try {
    page = JSON.parse(text);
  } catch {
    throw new CurvePageError("is not JSON");
  }
  if (!isObject(page) || page["format"] !== CURVE_FORMAT)
    throw new CurvePageError(`does not say "format": "${CURVE_FORMAT}"`);
  if (!Array.isArray(page["curves"])) throw new CurvePageError("has no list of curves");
  return page["curves"].map((curve: unknown, i) => parseCurve(curve, `curves[${i}]`));
}

function parseCurve(curve: unknown, at: string): KeptCurve {
  if (!isObject(curve)) throw new CurvePageError(`${at} is no object`);
  const nameOf = (key: keyof CurveOwner): string => {
    const value = curve[key];
    if (typeof value === "string" && value.length <= NAME_LENGTH_MAX) return value;
    throw new CurvePageError(`${at}.${key} is no text of at most ${NAME_LENGTH_MAX} characters`);
  };
  const { points } = curve;
  if (!Array.isArray(points) || points.length > POINTS_MAX)
    throw new CurvePageError(`${at}.points is no list of at most ${POINTS_MAX}`);
  return {
    model: nameOf("model"),
    version: nameOf("version"),
    bucket: nameOf("bucket"),
    fingerprint: nameOf("fingerprint"),
    points: points.map((point: unknown, i) => parsePoint(point, `${at}.points[${i}]`)),
  };
}

function parsePoint(point: unknown, at: string): CurvePoint {
  const { rows, q50_ms: q50Ms, q95_ms: q95Ms, samples } = isObject(point) ? point : {};
  if (!isCount(rows) || !isCount(samples)) throw new CurvePageError(`${at}: rows and samples are whole numbers from 1`);
  if (!isTime(q50Ms) || !isTime(q95Ms) || q95Ms < q50Ms)
    throw new CurvePageError(`${at}: q50_ms and q95_ms are above 0, and q95_ms is not the smaller one`);
  return { rows, q50Ms, q95Ms, samples };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 1;
}

function isTime(value: unknown): value is number {
  return typeof value === "number" && value > 0 && Number.isFinite(value);
}

import { type AnnouncedPoint, LIMITS } from "@millrace/protocol";
import { Curve, type CurveOwner, type CurvePage, curvePage, type KeptCurve } from "@millrace/scheduling";
import { announcedPoints } from "./announced-curve.ts";
import type { WarmUpRuns } from "./runner.ts";

/** Buckets of one model whose curves are kept. They come from clients: the book must not grow without bound. */
const BUCKETS_MAX = 64;

/** Bytes of a point in MODELS, at most: its head, rows, samples and the head of the name of three each, two times of nine, and a name. */
const POINT_BYTES_MAX = 1 + 3 * 3 + 2 * 9 + LIMITS.nameBytes;

/** Points of all models that one MODELS may carry: half of its header has room for them. */
const ANNOUNCED_MAX = Math.floor(LIMITS.headerBytes / 2 / POINT_BYTES_MAX);

/** One model's curves by bucket, the most recently used last. */
type ModelCurves = {
  readonly owner: Omit<CurveOwner, "bucket">;
  readonly byBucket: Map<string, Curve>;
  latest: { readonly bucket: string; readonly curve: Curve } | undefined;
};

/**
 * What a worker knows of how long its models take: measured at warm-up, learned from every batch since, or kept from an earlier
 * life. By it a broker that starts anew is warm at once. Pure.
 */
export class CurveBook {
  readonly #kept: ReadonlyMap<string, readonly KeptCurve[]>;
  readonly #models = new Map<number, ModelCurves>();
  readonly #changed = new Set<number>();

  /** `kept`: curves from elsewhere; those of this worker's kind are taken. */
  constructor(kept: readonly KeptCurve[] = []) {
    this.#kept = Map.groupBy(kept, ({ fingerprint }) => fingerprint);
  }

  /** Takes a model in. `more`: kept curves for it alone. Returns of how many batch sizes its warm-up curve is known already. */
  add(model: number, owner: Omit<CurveOwner, "bucket">, more: readonly KeptCurve[] = []): number {
    const byBucket = new Map<string, Curve>();
    this.#models.set(model, { owner, byBucket, latest: undefined });
    for (const { bucket, points, fingerprint } of [...more, ...(this.#kept.get(owner.fingerprint) ?? [])]) {
      if (fingerprint === owner.fingerprint) this.#curve(model, bucket)?.seed(points);
    }
    return byBucket.get("")?.points().length ?? 0;
  }

  /** Takes what the warm-up has measured. */
  warmedUp(model: number, bucket: string, runs: readonly WarmUpRuns[]): void {
    for (const { rows, timesMs } of runs) for (const timeMs of timesMs) this.record(model, { bucket, rows, timeMs });
  }

  /** Learns from one run. */
  record(model: number, run: { readonly bucket: string; readonly rows: number; readonly timeMs: number }): void {
    this.#curve(model, run.bucket)?.record(run.rows, run.timeMs);
    this.#changed.add(model);
  }

  /** What MODELS says of a model's curve: of as many buckets as there is room for, the most recently used first. */
  announced(model: number): AnnouncedPoint[] {
    const room = Math.min(LIMITS.list, Math.floor(ANNOUNCED_MAX / Math.max(1, this.#models.size)));
    const buckets = [...(this.#models.get(model)?.byBucket ?? [])].toReversed();
    const announced: AnnouncedPoint[] = [];
    for (const [bucket, curve] of buckets) {
      const points = announcedPoints(bucket, curve.points());
      announced.push(...thin(points, room - announced.length));
      if (announced.length >= room) break;
    }
    return announced;
  }

  /** Every curve, as the admin port shows it. */
  page(): CurvePage {
    return curvePage([...this.#models.values()].flatMap(curvesOf));
  }

  /** The pages, one a kind, of the models that have learned something since this was asked last. */
  takeChanged(): { readonly fingerprint: string; readonly page: CurvePage }[] {
    const changed = [...this.#changed].flatMap((model) => this.#models.get(model) ?? []);
    this.#changed.clear();
    return changed.map((curves) => ({ fingerprint: curves.owner.fingerprint, page: curvePage(curvesOf(curves)) }));
  }

  #curve(model: number, bucket: string): Curve | undefined {
    const curves = this.#models.get(model);
    if (curves === undefined) return undefined;
    if (curves.latest?.bucket === bucket) return curves.latest.curve;
    const { byBucket } = curves;
    const curve = byBucket.get(bucket) ?? new Curve();
    byBucket.delete(bucket);
    byBucket.set(bucket, curve);
    if (byBucket.size > BUCKETS_MAX) byBucket.delete(byBucket.keys().next().value ?? "");
    curves.latest = { bucket, curve };
    return curve;
  }
}

function curvesOf({ owner, byBucket }: ModelCurves): (CurveOwner & { readonly curve: Curve })[] {
  return [...byBucket].map(([bucket, curve]) => ({ ...owner, bucket, curve }));
}

/** At most `room` of the points, the first and the last among them, evenly. */
function thin(points: readonly AnnouncedPoint[], room: number): AnnouncedPoint[] {
  if (points.length <= room) return [...points];
  if (room < 2) return points.slice(0, room);
  const step = (points.length - 1) / (room - 1);
  return Array.from({ length: room }, (_, i) => points[Math.round(i * step)]!);
}

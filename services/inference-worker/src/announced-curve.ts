import type { AnnouncedPoint } from "@millrace/protocol";
import { Curve, type CurvePoint } from "@millrace/scheduling";
import type { WarmUpRuns } from "./runner.ts";

/** The curve that a warm-up has measured. */
export function curveOf(runs: readonly WarmUpRuns[]): Curve {
  const curve = new Curve();
  for (const { rows, timesMs } of runs) for (const timeMs of timesMs) curve.record(rows, timeMs);
  curve.settle();
  return curve;
}

/** Points of one bucket as MODELS carries them; a time of less than a microsecond is one. */
export function announcedPoints(bucket: string, points: readonly CurvePoint[]): AnnouncedPoint[] {
  return points.map(({ rows, q50Ms, q95Ms, samples }) => ({
    rows,
    q50Us: microseconds(q50Ms),
    q95Us: microseconds(q95Ms),
    samples,
    bucket,
  }));
}

function microseconds(ms: number): number {
  return Math.max(1, Math.round(ms * 1000));
}

/** One measured batch size: the median of the batch time and an upper quantile, in ms. Ascending in both. */
export type SizePoint = { readonly rows: number; readonly q50Ms: number; readonly q95Ms: number };

/** Batch time as fixed cost and cost a row: L(n) ≈ fixedMs + rowMs · n. */
export type BatchLine = { readonly fixedMs: number; readonly rowMs: number };

/** A batch size and what one worker does with it. */
export type BatchChoice = { readonly rows: number; readonly q95Ms: number; readonly rowsPerSecond: number };

export type Sizing = BatchChoice & { readonly workers: number };

/** More workers than one would plan for by hand. */
const WORKERS_MAX = 100_000;

/** The predicted times of any number of rows between the smallest and the largest measured size, straight between neighbours. */
export function predict(points: readonly SizePoint[], rows: number): SizePoint {
  const above = points.find((point) => point.rows >= rows) ?? points.at(-1);
  const below = points.findLast((point) => point.rows <= rows) ?? above;
  if (above === undefined || below === undefined) throw new RangeError("a curve has points");
  if (above.rows === below.rows) return { ...above, rows };
  const share = (rows - below.rows) / (above.rows - below.rows);
  const between = (key: "q50Ms" | "q95Ms"): number => below[key] + share * (above[key] - below[key]);
  return { rows, q50Ms: between("q50Ms"), q95Ms: between("q95Ms") };
}

/**
 * The batch size with the highest throughput that keeps an SLO where `workers` take turns: a request that has just missed a batch
 * waits for at most L(n)/N and then runs, so L(n)·(1 + 1/N) ≤ SLO, with L's upper quantile (as in Symphony, https://arxiv.org/abs/2308.07470).
 * Undefined where not even one row keeps it. O(rows of the largest size).
 */
export function bestBatch(
  points: readonly SizePoint[],
  { sloMs, workers }: { readonly sloMs: number; readonly workers: number },
): BatchChoice | undefined {
  let best: BatchChoice | undefined;
  const last = points.at(-1)?.rows ?? 0;
  for (let rows = points[0]?.rows ?? 1; rows <= last; rows++) {
    const { q50Ms, q95Ms } = predict(points, rows);
    if (q95Ms * (1 + 1 / workers) > sloMs) break;
    const rowsPerSecond = (1000 * rows) / q50Ms;
    if (best === undefined || rowsPerSecond > best.rowsPerSecond) best = { rows, q95Ms, rowsPerSecond };
  }
  return best;
}

/**
 * Workers for a rate within an SLO by the line alone: N = ⌈(λb + a/D) / (1 − a/D)⌉; Infinity where a ≥ D. The largest batch that keeps
 * the SLO is n = (D/(1 + 1/N) − a)/b, N workers that take turns run N·n/L(n) = (N/b)·(1 − (1 + 1/N)·a/D) of them, and that solved for N.
 */
export function workersByLine(
  { fixedMs, rowMs }: BatchLine,
  { ratePerSecond, sloMs }: { readonly ratePerSecond: number; readonly sloMs: number },
): number {
  const turn = fixedMs / sloMs;
  return turn >= 1 ? Infinity : Math.max(1, Math.ceil(((ratePerSecond / 1000) * rowMs + turn) / (1 - turn) - 1e-9));
}

/**
 * Workers for a rate of rows within an SLO, and the batch size to run then: as the line says, and more where the largest feasible batch,
 * as it was measured, falls short of the rate. Undefined where no number of workers keeps the SLO.
 */
export function sizeFor(
  curve: { readonly points: readonly SizePoint[]; readonly line: BatchLine | undefined },
  ask: { readonly ratePerSecond: number; readonly sloMs: number },
): Sizing | undefined {
  const { points, line } = curve;
  const { ratePerSecond, sloMs } = ask;
  let workers = line === undefined ? 1 : workersByLine(line, ask);
  while (workers <= WORKERS_MAX) {
    const batch = bestBatch(points, { sloMs, workers });
    if (batch !== undefined && workers * batch.rowsPerSecond >= ratePerSecond) return { ...batch, workers };
    const needed = batch === undefined ? 2 * workers : Math.ceil(ratePerSecond / batch.rowsPerSecond);
    workers = Math.max(workers + 1, Math.min(needed, 2 * workers));
  }
  return undefined;
}

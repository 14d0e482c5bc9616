/** How many of the latest samples of one batch size count. */
export const CURVE_SAMPLES = 64;

/** Predicted compute time of a batch size, in ms: the median, and an upper quantile to plan with. */
export type Prediction = { readonly q50Ms: number; readonly q95Ms: number };

/** A batch time as fixed cost and cost a row, L(n) ≈ fixedMs + rowMs · n; neither is negative. */
export type Line = { readonly fixedMs: number; readonly rowMs: number };

export type CurvePoint = Prediction & { readonly rows: number };

/** The samples of one batch size, in ms: `ring` in the order they came, `sorted` ascending. */
type Size = { readonly rows: number; readonly ring: number[]; readonly sorted: number[]; next: number };

/**
 * The measured batch time L(n) of one model version, shape bucket and kind of worker.
 *
 * Learns from compute time alone, never from anything that includes waiting. Each size keeps its last 64 samples. The
 * quantiles are fitted to ascend with the size, weighted by samples (a larger batch is never predicted faster, and an odd
 * sample of a small size does not lift all larger ones), and interpolated between sizes. Sizes beyond 64 rows are taken
 * together in steps of 3 % and less, so that memory is bounded whatever comes. record is O(log sizes + samples); predict is
 * O(log sizes), and O(sizes) after new samples.
 */
export class Curve {
  readonly #sizes: Size[] = [];
  #points: CurvePoint[] | undefined;
  #line: Line | undefined;

  /** Adds the compute time of one batch. `rows` ≥ 1; times that are not positive numbers are ignored. */
  record(rows: number, computeMs: number): void {
    if (!(computeMs > 0) || !(rows >= 1) || !Number.isFinite(computeMs)) return;
    const size = this.#sizeOf(stepOf(rows));
    const { ring, sorted } = size;
    const oldest = ring[size.next];
    if (oldest !== undefined) sorted.splice(indexIn(sorted, oldest), 1);
    sorted.splice(indexIn(sorted, computeMs), 0, computeMs);
    ring[size.next] = computeMs;
    size.next = (size.next + 1) % CURVE_SAMPLES;
    this.#points = undefined;
    this.#line = undefined;
  }

  /** The predicted compute time of `rows` rows, or undefined before the first sample. */
  predict(rows: number): Prediction | undefined {
    const points = this.points();
    const first = points[0];
    const last = points.at(-1);
    if (first === undefined || last === undefined || rows <= first.rows) return first;
    if (rows > last.rows) return extrapolate(first, last, rows);
    const above = indexOf(points, rows);
    return interpolate(points[above - 1]!, points[above]!, rows);
  }

  /** The straight line nearest to the medians, each size weighing as many samples as it has; undefined below two sizes. */
  line(): Line | undefined {
    if (this.#sizes.length < 2) return undefined;
    return (this.#line ??= fitLine(
      this.points().map(({ rows, q50Ms }, i) => ({ rows, ms: q50Ms, weight: this.#sizes[i]!.sorted.length })),
    ));
  }

  /** The measured sizes in ascending order, monotone in both quantiles. */
  points(): readonly CurvePoint[] {
    if (this.#points !== undefined) return this.#points;
    const q50sMs = ascending(this.#sizes, 0.5);
    const q95sMs = ascending(this.#sizes, 0.95);
    return (this.#points = this.#sizes.map(({ rows }, i) => ({
      rows,
      q50Ms: q50sMs[i]!,
      // The fit keeps them in order but for the last bits.
      q95Ms: Math.max(q50sMs[i]!, q95sMs[i]!),
    })));
  }

  #sizeOf(rows: number): Size {
    const index = indexOf(this.#sizes, rows);
    const found = this.#sizes[index];
    if (found?.rows === rows) return found;
    const size = { rows, ring: [], sorted: [], next: 0 };
    this.#sizes.splice(index, 0, size);
    return size;
  }
}

/** The size that a batch is counted as: itself up to 64 rows, beyond it rounded to 32 steps an octave. */
function stepOf(rows: number): number {
  const step = 2 ** Math.max(0, Math.floor(Math.log2(rows)) - 5);
  return Math.round(rows / step) * step;
}

/** The first position whose value is at least `value`; the length if there is none. */
function indexIn(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The first position with at least `rows` rows; the length if there is none. */
function indexOf(sorted: readonly { readonly rows: number }[], rows: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]!.rows < rows) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The smallest sample that at least the share `q` of the samples does not exceed ("nearest rank"). */
function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? 0;
}

/**
 * The ascending values that are closest to the quantiles of the sizes, each size weighing as many samples as it has: what is
 * out of order is pooled to its mean (isotonic regression by pooling adjacent violators).
 */
function ascending(sizes: readonly Size[], q: number): number[] {
  const pools: { mean: number; weight: number; sizes: number }[] = [];
  for (const { sorted } of sizes) {
    let pool = { mean: quantile(sorted, q), weight: sorted.length, sizes: 1 };
    for (let last = pools.at(-1); last !== undefined && last.mean > pool.mean; last = pools.at(-1)) {
      const weight = last.weight + pool.weight;
      const mean = (last.mean * last.weight + pool.mean * pool.weight) / weight;
      pool = { mean, weight, sizes: last.sizes + pool.sizes };
      pools.pop();
    }
    pools.push(pool);
  }
  const values: number[] = [];
  for (const { mean, sizes } of pools) for (let i = 0; i < sizes; i++) values.push(mean);
  return values;
}

/** Weighted least squares. As the medians ascend the slope is not negative; a negative fixed cost is none. */
function fitLine(points: readonly { readonly rows: number; readonly ms: number; readonly weight: number }[]): Line {
  let weight = 0;
  let rows = 0;
  let ms = 0;
  for (const point of points) {
    weight += point.weight;
    rows += point.weight * point.rows;
    ms += point.weight * point.ms;
  }
  const [meanRows, meanMs] = [rows / weight, ms / weight];
  let spread = 0;
  let joint = 0;
  for (const point of points) {
    spread += point.weight * (point.rows - meanRows) ** 2;
    joint += point.weight * (point.rows - meanRows) * (point.ms - meanMs);
  }
  const rowMs = Math.max(0, joint / spread);
  return { fixedMs: Math.max(0, meanMs - rowMs * meanRows), rowMs };
}

function interpolate(a: CurvePoint, b: CurvePoint, rows: number): Prediction {
  const share = (rows - a.rows) / (b.rows - a.rows);
  return { q50Ms: a.q50Ms + share * (b.q50Ms - a.q50Ms), q95Ms: a.q95Ms + share * (b.q95Ms - a.q95Ms) };
}

/**
 * Beyond the largest measured size: the slope over all sizes, or proportional where there is one size only. The two slopes
 * come from different samples; q95 is kept at or above q50.
 */
function extrapolate(first: CurvePoint, last: CurvePoint, rows: number): Prediction {
  const beyond = (key: "q50Ms" | "q95Ms"): number => {
    const slope =
      first.rows === last.rows ? last[key] / last.rows : (last[key] - first[key]) / (last.rows - first.rows);
    return last[key] + (rows - last.rows) * slope;
  };
  const q50Ms = beyond("q50Ms");
  return { q50Ms, q95Ms: Math.max(q50Ms, beyond("q95Ms")) };
}

import { Pace, unusualRatio } from "./pace.ts";
import { indexIn } from "./sorted.ts";

/** How many of the latest samples of one batch size count. */
export const CURVE_SAMPLES = 64;

/** What was not run for so many runs of other sizes is known no better than by what smaller sizes say of it. */
const STALE_RUNS = 128;

/** No batch is larger; what comes from a peer or a file may say anything. */
const ROWS_MAX = 2 ** 32;

/**
 * Made-up samples enter the window by steps of this many ranks, so that those that newer ones push out first are neither the
 * fast nor the slow ones. A prime above the window's length visits each rank once, whatever the count.
 */
const SEED_STRIDE = 67;

/** Predicted compute time of a batch size, in ms: the median, and the 95th percentile, to plan with. */
export type Prediction = { readonly q50Ms: number; readonly q95Ms: number };

/** A batch time as fixed cost and cost a row, L(n) ≈ fixedMs + rowMs · n; neither is negative. */
export type Line = { readonly fixedMs: number; readonly rowMs: number };

/** One measured batch size; `samples` is how many of the latest runs it stands for, 1 to 64. */
export type CurvePoint = Prediction & { readonly rows: number; readonly samples: number };

/**
 * The samples of one batch size, in ms at the first pace: `ring` in the order they came, `sorted` ascending. `lastRun`: the number of
 * its latest run among all.
 */
type Size = {
  readonly rows: number;
  readonly ring: number[];
  readonly sorted: number[];
  next: number;
  lastRun: number;
};

/**
 * The measured batch time L(n) of one model version, shape bucket and kind of worker.
 *
 * Learns from compute time alone, never from anything that includes waiting. Each size keeps its last 64 samples. The
 * quantiles are fitted to ascend with the size, weighted by samples (a larger batch is never predicted faster, and an odd
 * sample of a small size does not lift all larger ones), and interpolated between sizes. Sizes beyond 64 rows are taken
 * together in steps of 3 % and less, so that memory is bounded whatever comes. record is O(log sizes + samples); predict is
 * O(log sizes), and O(sizes) after new samples.
 *
 * Sizes that are not run now follow those that are, or what a slow spell has made look infeasible would never be tried again: samples
 * are kept at a common pace (`Pace`). And a size that was passed over for 128 runs is not believed to be slower than in
 * proportion to the largest smaller one that was run: fixed costs are not negative. So one that bad luck has spoiled is tried again.
 */
export class Curve {
  readonly #sizes: Size[] = [];
  #points: CurvePoint[] | undefined;
  #line: Line | undefined;
  readonly #pace = new Pace();
  #runs = 0;

  /**
   * Adds the compute time of one batch. `rows` ≥ 1; times that are not positive numbers are ignored. Returns whether all sizes have become
   * slower or faster by it.
   */
  record(rows: number, computeMs: number): boolean {
    if (!isTime(computeMs) || !(rows >= 1 && rows <= ROWS_MAX)) return false;
    this.#runs++;
    const step = stepOf(rows);
    const size = this.#sizes[indexOf(this.#sizes, step)];
    const { factor } = this.#pace;
    const ratio = size?.rows === step ? unusualRatio(size.sorted, computeMs / factor) : undefined;
    if (!this.#pace.isInDoubt && (ratio === 1 || ratio === undefined)) {
      this.#add(this.#sizeOf(step), computeMs);
      return false;
    }
    for (const run of this.#pace.take({ rows: step, computeMs, ratio }))
      this.#add(this.#sizeOf(run.rows), run.computeMs);
    return this.#pace.factor !== factor;
  }

  /** Counts the runs that wait for the verdict on the pace: no more will come to decide it. */
  settle(): void {
    for (const run of this.#pace.release()) this.#add(this.#sizeOf(run.rows), run.computeMs);
  }

  /**
   * Takes what was measured elsewhere, or in an earlier life, for the sizes that have no sample here. A size begins with as
   * many samples as stood behind its point, at the point's two quantiles; the curve's own push them out one by one. Points
   * that cannot be are ignored.
   */
  seed(points: readonly CurvePoint[]): void {
    for (const { rows, q50Ms, q95Ms, samples } of points) {
      if (!isTime(q50Ms) || !isTime(q95Ms) || !(rows >= 1 && rows <= ROWS_MAX) || !(samples >= 1)) continue;
      const size = this.#sizeOf(stepOf(rows));
      if (size.sorted.length > 0) continue;
      const count = Math.min(CURVE_SAMPLES, Math.floor(samples));
      const times = { q50Ms, q95Ms: Math.max(q50Ms, q95Ms) };
      for (let i = 0; i < count; i++) this.#add(size, seedTime(times, (i * SEED_STRIDE) % count, count));
    }
  }

  #add(size: Size, computeMs: number): void {
    if (isStale(size, this.#runs)) this.#forgetSpoiled(size);
    const { ring, sorted } = size;
    const ms = computeMs / this.#pace.factor;
    const oldest = ring[size.next];
    if (oldest !== undefined) sorted.splice(indexIn(sorted, oldest), 1);
    sorted.splice(indexIn(sorted, ms), 0, ms);
    ring[size.next] = ms;
    size.next = (size.next + 1) % CURVE_SAMPLES;
    size.lastRun = this.#runs;
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
    return (this.#points ??= this.#fit());
  }

  #fit(): CurvePoint[] {
    const { factor } = this.#pace;
    const q50sMs = ascending(this.#sizes, 0.5, this.#runs);
    const q95sMs = ascending(this.#sizes, 0.95, this.#runs);
    return this.#sizes.map(({ rows, sorted }, i) => ({
      rows,
      samples: sorted.length,
      q50Ms: q50sMs[i]! * factor,
      q95Ms: q95sMs[i]! * factor,
    }));
  }

  /** A size is run again: what was not believed of it does not come back. */
  #forgetSpoiled(size: Size): void {
    const { rows, ring, sorted } = size;
    const smaller = this.#sizes.findLast((other) => other.rows < rows && !isStale(other, this.#runs));
    if (smaller === undefined) return;
    const mostMs = (quantile(smaller.sorted, 0.95) / smaller.rows) * rows;
    if (sorted[sorted.length - 1]! <= mostMs) return;
    const kept = [...ring.slice(size.next), ...ring.slice(0, size.next)].filter((ms) => ms <= mostMs);
    ring.splice(0, Infinity, ...kept);
    sorted.splice(indexIn(sorted, mostMs), Infinity);
    for (let i = sorted.length; i < kept.length; i++) sorted.push(mostMs);
    size.next = kept.length;
  }

  #sizeOf(rows: number): Size {
    const index = indexOf(this.#sizes, rows);
    const found = this.#sizes[index];
    if (found?.rows === rows) return found;
    const size = { rows, ring: [], sorted: [], next: 0, lastRun: this.#runs };
    this.#sizes.splice(index, 0, size);
    return size;
  }
}

function isTime(ms: number): boolean {
  return ms > 0 && Number.isFinite(ms);
}

/**
 * The time of rank `rank` (0 to `count` − 1) among made-up samples whose quantiles are the given ones: up to the median's rank
 * q50, from the 95th percentile's on q95, in equal steps between.
 */
function seedTime({ q50Ms, q95Ms }: Prediction, rank: number, count: number): number {
  const low = rankOf(0.5, count);
  const high = Math.max(low + 1, rankOf(0.95, count));
  if (rank <= low) return q50Ms;
  return rank >= high ? q95Ms : q50Ms + ((rank - low) / (high - low)) * (q95Ms - q50Ms);
}

/** The size that a batch is counted as: itself up to 64 rows, beyond it rounded to 32 steps an octave. */
function stepOf(rows: number): number {
  const step = 2 ** Math.max(0, Math.floor(Math.log2(rows)) - 5);
  return Math.round(rows / step) * step;
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
  return sorted[rankOf(q, sorted.length)] ?? 0;
}

function rankOf(q: number, count: number): number {
  return Math.max(0, Math.ceil(q * count) - 1);
}

function isStale({ lastRun }: Size, runs: number): boolean {
  return runs - lastRun > STALE_RUNS;
}

/**
 * The ascending values that are closest to the quantiles of the sizes, each size weighing as many samples as it has: what is
 * out of order is pooled to its lower median (isotonic regression by pooling adjacent violators, with absolute in place of squared errors:
 * Robertson and Waltman, Ann. Math. Statist. 39, 1968). A mean would not do: of a slow model a warm-up has one run or two of each size, and
 * one of them that the machine held up for a second would lift all larger sizes beyond any budget. A size that was passed over counts
 * as no slower than in proportion to a smaller one.
 */
function ascending(sizes: readonly Size[], q: number, runs: number): number[] {
  const pools: { ms: number; members: Weighted[] }[] = [];
  let rowMs = Infinity;
  for (const size of sizes) {
    const { rows, sorted } = size;
    const ownMs = quantile(sorted, q);
    const isPassedOver = isStale(size, runs);
    if (!isPassedOver) rowMs = ownMs / rows;
    const ms = isPassedOver ? Math.min(ownMs, rows * rowMs) : ownMs;
    let pool = { ms, members: [{ ms, weight: sorted.length }] };
    for (let last = pools.at(-1); last !== undefined && last.ms > pool.ms; last = pools.at(-1)) {
      const members = [...last.members, ...pool.members];
      pool = { ms: lowerMedian(members), members };
      pools.pop();
    }
    pools.push(pool);
  }
  return pools.flatMap(({ ms, members }) => members.map(() => ms));
}

type Weighted = { readonly ms: number; readonly weight: number };

/** The least value that half of the weight does not exceed. */
function lowerMedian(members: readonly Weighted[]): number {
  const ascending = members.toSorted((a, b) => a.ms - b.ms);
  const half = members.reduce((sum, { weight }) => sum + weight, 0) / 2;
  let weight = 0;
  return ascending.find((member) => (weight += member.weight) >= half)!.ms;
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

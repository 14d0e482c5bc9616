/**
 * A quantile of a histogram, as Prometheus's `histogram_quantile` estimates it: observations are taken to lie evenly in their
 * bucket, the lowest bucket begins at 0, and what is beyond the last bound counts as that bound. So the page and a query on
 * `/metrics` tell the same.
 *
 * @param bounds upper bounds, ascending, without +Inf.
 * @param counts observations of each bucket, not cumulative; one more than bounds, the last of +Inf.
 * @param q 0 to 1.
 * @returns in the unit of the bounds; NaN where nothing was observed.
 */
export function histogramQuantile(bounds: ArrayLike<number>, counts: ArrayLike<number>, q: number): number {
  let total = 0;
  for (let i = 0; i < counts.length; i++) total += counts[i]!;
  if (total === 0) return Number.NaN;
  const rank = q * total;
  let below = 0;
  for (let i = 0; i < bounds.length; i++) {
    const count = counts[i]!;
    if (count > 0 && below + count >= rank) {
      const low = i === 0 ? 0 : bounds[i - 1]!;
      return low + (bounds[i]! - low) * ((rank - below) / count);
    }
    below += count;
  }
  return bounds[bounds.length - 1] ?? Number.NaN;
}

/**
 * Puts series on top of each other: each becomes the sum of itself and those before it. Where nothing is known of a moment
 * (every series is null) the sums are null.
 *
 * @param {readonly (readonly (number | null)[])[]} series of equal length
 * @param {number} leastShare a layer that is not zero is drawn at least this share of the highest sum: a single failure among
 *   thousands of requests would be thinner than a pixel, and is what the reader looks for
 * @returns {(number | null)[][]}
 */
export function stack(series, leastShare = 0) {
  const length = series[0]?.length ?? 0;
  /** @type {(number | null)[][]} */
  const sums = series.map(() => Array.from({ length }, () => null));
  const least = leastShare === 0 ? 0 : leastShare * highestSum(series, length);
  for (let i = 0; i < length; i++) {
    if (series.every((values) => (values[i] ?? null) === null)) continue;
    let sum = 0;
    for (const [at, values] of series.entries()) {
      const value = values[i] ?? 0;
      sum += value > 0 ? Math.max(value, least) : 0;
      const into = sums[at];
      if (into !== undefined) into[i] = sum;
    }
  }
  return sums;
}

/**
 * @param {readonly (readonly (number | null)[])[]} series
 * @param {number} length
 */
function highestSum(series, length) {
  let highest = 0;
  for (let i = 0; i < length; i++) {
    highest = Math.max(
      highest,
      series.reduce((sum, values) => sum + (values[i] ?? 0), 0),
    );
  }
  return highest;
}

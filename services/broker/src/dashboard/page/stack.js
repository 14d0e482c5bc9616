/**
 * Puts series on top of each other: each becomes the sum of itself and those before it. Where nothing is known of a moment
 * (every series is null) the sums are null.
 *
 * @param {readonly (readonly (number | null)[])[]} series of equal length
 * @returns {(number | null)[][]}
 */
export function stack(series) {
  const length = series[0]?.length ?? 0;
  /** @type {(number | null)[][]} */
  const sums = series.map(() => Array.from({ length }, () => null));
  for (let i = 0; i < length; i++) {
    const isKnown = series.some((values) => (values[i] ?? null) !== null);
    let sum = 0;
    for (const [at, values] of series.entries()) {
      sum += values[i] ?? 0;
      const into = sums[at];
      if (into !== undefined) into[i] = isKnown ? sum : null;
    }
  }
  return sums;
}

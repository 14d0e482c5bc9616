/** Two clocks that run alike from different zeros. */
export type Clocks = { readonly readNs: () => bigint; readonly readMs: () => number };

const LOOKS = 16;

/**
 * What the first clock shows at the zero of the second, in nanoseconds. They are looked at one after the other, and a process may be
 * put aside for many milliseconds in between: of several looks the one counts that took the least time.
 */
export function clockOriginNs({ readNs, readMs }: Clocks): bigint {
  let originNs = 0n;
  let leastNs: bigint | undefined;
  for (let look = 0; look < LOOKS; look++) {
    const fromNs = readNs();
    const ms = readMs();
    const tookNs = readNs() - fromNs;
    if (leastNs !== undefined && tookNs >= leastNs) continue;
    leastNs = tookNs;
    originNs = fromNs - BigInt(Math.round(ms * 1e6));
  }
  return originNs;
}

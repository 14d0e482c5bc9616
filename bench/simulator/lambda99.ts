/** The highest rate (requests/ms) at which at least 99 % are in time, by bisection between 0 and `high`. */
export function lambda99(share: (rate: number) => number, high: number, steps = 12): number {
  let low = 0;
  let top = high;
  for (let i = 0; i < steps; i++) {
    const middle = (low + top) / 2;
    if (share(middle) >= 0.99) low = middle;
    else top = middle;
  }
  return low;
}

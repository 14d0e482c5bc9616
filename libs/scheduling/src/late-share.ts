/** The quantiles that batches are planned with. */
export type UpperQuantile = 0.95 | 0.99;

/** More of them late than this, and 95 % certainty was too little (scheduling research §6). */
const LATE_SHARE_MAX = 0.005;

/** Weight of the newest request in the moving average: it looks back over about a thousand. */
const WEIGHT = 0.001;

/**
 * How many of the requests that left in a batch came back too late: what the plan had promised and did not keep. While they are more than
 * 0.5 % the plan has to look at the 99th percentile. O(1).
 */
export class LateShare {
  /** 0 to 1; 0 before the first request. */
  share = 0;

  /** Takes the requests of one answered batch, `late` of which were past their deadline. */
  record(requests: number, late: number): void {
    if (requests > 0) this.share += (1 - (1 - WEIGHT) ** requests) * (late / requests - this.share);
  }

  get quantile(): UpperQuantile {
    return this.share > LATE_SHARE_MAX ? 0.99 : 0.95;
  }
}

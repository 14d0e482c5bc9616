/** A broker that restarts in place is back well within this time, in ms, and its workers have found it. */
export const BROKER_RETURN_MS = 3_000;

/** A broker that comes back elsewhere may have to be scheduled, and its address to run out of caches; load balancers wait longer. In ms. */
const BROKER_WAIT_MS_MAX = 30_000;

/**
 * How old an outage may be, in ms, with a request of this budget still waiting for a broker: half of the budget, but at least 3 s and
 * at most 30 s. The age of the outage counts, not of the request: what comes later waits the less, and once the outage is older, not at
 * all. The budget itself bounds every wait.
 */
export function brokerWaitMs(budgetMs: number): number {
  return Math.min(Math.max(budgetMs / 2, BROKER_RETURN_MS), BROKER_WAIT_MS_MAX);
}

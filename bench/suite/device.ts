import type { Line } from "@millrace/scheduling";
import type { SimulatedModel } from "../../tests/support/simulated-model.ts";

/**
 * The device of the simulator's table (bench/simulator/simulator.test.ts: 4 + 0.25 n ms, a deadline of 20 ms), ten times as slow: so what a busy
 * machine adds in milliseconds weighs a tenth, and eight workers that sleep fit on two cores.
 */
export const LINE: Line = { fixedMs: 40, rowMs: 2.5 };

/** Within which answers must be with the client, from when their request was due. */
export const DEADLINE_MS = 200;

/** What the way between client and gateway may take: the service is given this much less than the client waits. */
export const CLIENT_MARGIN_MS = 8;

/** Rows of a run. The largest that is of use with eight slots is 55: (D / (1 + 1/N) − a) / b. */
export const ROWS_MAX = 64;

export const DEVICE: SimulatedModel = {
  name: "device",
  runMs: LINE.fixedMs,
  rowMs: LINE.rowMs,
  timeoutMs: DEADLINE_MS - CLIENT_MARGIN_MS,
  maxBatchSize: ROWS_MAX,
};

/** What no policy exceeds on average: (N/b)(1 − a/D), in requests a second. */
export function absoluteLimit(workers: number, { fixedMs, rowMs }: Line = LINE): number {
  return ((1000 * workers) / rowMs) * (1 - fixedMs / DEADLINE_MS);
}

/** What turns with a wait of at most L/N allow: (N/b)(1 − (1 + 1/N)·a/D), in requests a second. */
export function staggeredLimit(workers: number, { fixedMs, rowMs }: Line = LINE): number {
  return ((1000 * workers) / rowMs) * (1 - ((1 + 1 / workers) * fixedMs) / DEADLINE_MS);
}

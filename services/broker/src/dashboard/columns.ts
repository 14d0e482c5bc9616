import { OUTCOMES } from "@millrace/protocol";
import { BROKER_STAGES } from "../metrics/observer.ts";

/** What a second on the page consists of. The page reads a sample by these names; their order is that of the numbers. */

/** The quantiles of the time in the broker. */
export const QUANTILES = { p50: 0.5, p95: 0.95, p99: 0.99 } as const;

/** Classes of batch sizes: rows up to and including `rowsMax`. */
export const BATCH_CLASSES = [
  { name: "rows_1", rowsMax: 1 },
  { name: "rows_4", rowsMax: 4 },
  { name: "rows_8", rowsMax: 8 },
  { name: "rows_16", rowsMax: 16 },
  { name: "rows_32", rowsMax: 32 },
  { name: "rows_64", rowsMax: 64 },
  { name: "rows_more", rowsMax: Infinity },
] as const;

/**
 * One second of one model, or of all together; NaN where there is nothing to tell (no request, no batch).
 *
 * - `at`: its end, in seconds of the wall clock: only for the page's axis.
 * - outcomes: requests that ended, per second.
 * - `p50` … `p99`: from received to answered, in ms, of the requests that ended with ok.
 * - stages: mean of the requests that a worker answered, in ms.
 * - `queued` requests wait at its end, the oldest for `oldest_ms`; `open` are received and not answered.
 * - batch classes: batches that were sent, per second; `batch_rows`: their mean size, in rows.
 * - `busy`: slots that ran a model, on average over the second; `slots`: those of the ready workers that serve it.
 */
export const COLUMNS = [
  "at",
  ...OUTCOMES,
  "p50",
  "p95",
  "p99",
  ...BROKER_STAGES,
  "queued",
  "oldest_ms",
  "open",
  "rows_1",
  "rows_4",
  "rows_8",
  "rows_16",
  "rows_32",
  "rows_64",
  "rows_more",
  "batch_rows",
  "busy",
  "slots",
] as const;

export type Column = (typeof COLUMNS)[number];

/** Seconds that the page shows. */
export const WINDOW_S = 900;

import type { LogEntry } from "./event-log.ts";
import type { WorkerRow } from "./worker-table.ts";

/** A model in the page's list, and how many workers serve it. */
export type ModelEntry = { readonly name: string; readonly workers: number };

/** What is there now, beside the charts. */
export type Now = {
  /** `serving`, `draining` or `drained`. */
  readonly state: string;
  readonly uptimeS: number;
  readonly gateways: number;
  readonly workers: number;
  /** Requests that ended since the broker began, of what is looked at, in the order of OUTCOMES. */
  readonly totals: readonly number[];
  /** Share of the last second in which the broker's event loop was busy, 0 to 1. */
  readonly loopBusy: number;
  readonly models: readonly ModelEntry[];
  readonly moreModels: number;
  readonly table: readonly WorkerRow[];
  readonly moreWorkers: number;
};

/** Sent when a client connects (event `start`): all that the page needs to show the last 15 minutes. JSON has null for NaN. */
export type StartFrame = {
  readonly broker: string;
  readonly windowS: number;
  readonly columns: readonly string[];
  readonly history: readonly (readonly (number | null)[])[];
  readonly log: readonly LogEntry[];
  readonly now: Now;
};

/** Sent each second (event `second`): one more sample in the order of `columns`, and what has happened. */
export type SecondFrame = {
  readonly sample: readonly (number | null)[];
  readonly log: readonly LogEntry[];
  readonly now: Now;
};

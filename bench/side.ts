import type { TreeProcess } from "../tests/support/process-tree.ts";
import type { RequestFormName } from "../tests/support/request-form.ts";

/** The model that all sides serve. */
export type ServedModel = {
  readonly name: string;
  /** The ONNX file, and the model repository that it is in. */
  readonly file: string;
  readonly repository: string;
};

/** What the workers of a side have run so far. `cpuSeconds`: processor time of their slots' threads, message passing included. */
export type RunReading = {
  readonly runs: number;
  readonly rows: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
};

/** One server, or set of servers, that runs and can be measured. Leaving its scope ends it. */
export type Side = AsyncDisposable & {
  readonly urls: readonly string[];
  /** Every process of it, as of now. */
  processes(): readonly TreeProcess[];
  /** For sides that tell. */
  readRuns?(): Promise<RunReading>;
};

/** One thing to measure: a row of the table of sides. */
export type SideRow = {
  /** As in tables and on the command line. */
  readonly name: string;
  readonly form: RequestFormName;
  /** The side whose closed loop tells what this one can do, where its own would not: it refuses what takes long. */
  readonly capacityOf?: string;
  /** Headers that tell it how long a request of an open loop may take, in ms; for sides that can be told. */
  budgetHeaders?(budgetMs: number): Readonly<Record<string, string>>;
  /** Whether its answers carry Millrace's `Server-Timing`. */
  readonly isTimed: boolean;
  /** What is not its default, in words for the report. */
  readonly settings: string;
  /** Which documentation advises these settings; "" for our own. */
  readonly advice: string;
  /** Whether it answers the same to everything, so that there is nothing to check. */
  readonly isEcho?: boolean;
  /** Whether it works while nobody asks: then it runs only while it is measured. */
  readonly isRestless?: boolean;
  /** The number of the core that a closed loop's load stays on; default: where the kernel puts it. */
  loadCore?(): number;
  /** Why it cannot run here, or "". */
  missing(): string;
  /** Starts it, and resolves when it answers. */
  start(model: ServedModel): Promise<Side>;
};

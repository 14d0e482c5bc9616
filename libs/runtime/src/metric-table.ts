/** What a metric counts, in its values; times are seconds, as Prometheus has them. */
export type MetricUnit =
  | "seconds"
  | "bytes"
  | "requests"
  | "request-seconds"
  | "rows"
  | "elements"
  | "batches"
  | "messages"
  | "events"
  | "workers"
  | "credits"
  | "slots"
  | "connections"
  | "processes"
  | "1";

type RowBase = {
  readonly unit: MetricUnit;
  /** Names of the labels; each has a bounded set of values, which never comes from clients. */
  readonly labels: readonly string[];
  /** One sentence, for `# HELP` and the generated reference. */
  readonly help: string;
} & ({ readonly asks?: never; readonly query?: never } | Question);

/** What one would ask of a metric where that is not obvious: in words, and in PromQL. */
type Question = { readonly asks: string; readonly query: string };

/**
 * One metric. `counter`: only grows; its name ends in `_total`. `gauge`: a level. `histogram`: observations by bucket, with the
 * upper bounds ascending and in the unit; the bucket for everything above the last is added.
 */
export type MetricRow = RowBase &
  (
    | { readonly type: "counter" }
    | { readonly type: "gauge" }
    | { readonly type: "histogram"; readonly buckets: readonly number[] }
  );

/** Every metric of a role: name → row. */
export type MetricTable = Readonly<Record<string, MetricRow>>;

/** Bounds for durations of whole requests, in seconds: close together where answers are, so that quantiles mean something. */
export const REQUEST_BUCKETS: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.0025, 0.0035, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025,
  0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1, 2.5, 5, 10,
];

/** Bounds for parts of a request and for batches, in seconds. */
export const STAGE_BUCKETS: readonly number[] = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

/** Bounds for rows of a batch. */
export const ROWS_BUCKETS: readonly number[] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/**
 * Types a table of metrics and checks what the types cannot.
 * @throws TypeError that names the metric whose row does not fit the conventions of Prometheus.
 */
export function defineMetrics<const Table extends MetricTable>(table: Table): Table {
  for (const [name, row] of Object.entries<MetricRow>(table)) {
    const fault = faultOf(name, row);
    if (fault !== "") throw new TypeError(`metric ${name}: ${fault}`);
  }
  return table;
}

function faultOf(name: string, row: MetricRow): string {
  if (!/^millrace(_[a-z0-9]+)+$/.test(name)) return "names are millrace_… in snake case";
  if ((row.type === "counter") !== name.endsWith("_total")) return "counters, and only they, end in _total";
  if (row.unit === "seconds" && !/_seconds(_total)?$/.test(name)) return "its unit belongs into its name";
  if (row.labels.some((label) => !/^[a-z][a-z0-9_]*$/.test(label) || label === "le")) return "a label has a wrong name";
  if (row.type !== "histogram") return "";
  const isAscending = row.buckets.every((bound, i) => i === 0 || bound > row.buckets[i - 1]!);
  return row.buckets.length > 0 && isAscending ? "" : "bounds must ascend";
}

import { bestBatch, sizeFor, type BatchChoice, type BatchLine, type SizePoint, type Sizing } from "./sizing.ts";

/** One model as it was measured. Times in ms; 0 where the manifest sets no target. */
export type MeasuredModel = {
  readonly name: string;
  readonly version: string;
  readonly threads: number;
  /** Why it is run one request at a time; "" where it batches. */
  readonly batchingReason: string;
  readonly maxBatchSize: number;
  readonly timeoutMs: number;
  readonly sloMs: number;
  readonly points: readonly (SizePoint & { readonly samples: number })[];
  readonly line: BatchLine | undefined;
};

/** What the user asks for; 0: not asked. */
export type BenchAsk = { readonly sloMs: number; readonly ratePerSecond: number; readonly workers: number };

/** What follows from the measurement. Undefined: not asked for, or not to be had. */
export type BenchAdvice = {
  readonly sloMs: number;
  readonly best: (BatchChoice & { readonly workers: number }) | undefined;
  readonly sizing: Sizing | undefined;
};

const BAR_WIDTH = 32;

/** Where no SLO is given the manifest's counts, and then its budget. */
function adviseOn(model: MeasuredModel, ask: BenchAsk): BenchAdvice {
  const sloMs = ask.sloMs || model.sloMs || model.timeoutMs;
  const sizing =
    sloMs > 0 && ask.ratePerSecond > 0 ? sizeFor(model, { sloMs, ratePerSecond: ask.ratePerSecond }) : undefined;
  const workers = ask.workers || sizing?.workers || 1;
  const best = sloMs > 0 ? bestBatch(model.points, { sloMs, workers }) : undefined;
  return { sloMs, sizing, best: best === undefined ? undefined : { ...best, workers } };
}

/** The report of one model for a terminal: table, plot, and what to do. Lines end with "\n". */
export function benchText(model: MeasuredModel, ask: BenchAsk): string {
  const { name, version, threads, batchingReason, points, line } = model;
  const advice = adviseOn(model, ask);
  const rates = points.map(({ rows, q50Ms }) => (1000 * rows) / q50Ms);
  const top = Math.max(...rates);
  const table = points.map(({ rows, q50Ms, q95Ms, samples }, i) => {
    const bar = "█".repeat(Math.max(1, Math.round((BAR_WIDTH * rates[i]!) / top)));
    return (
      [rows, q50Ms.toFixed(3), q95Ms.toFixed(3), samples, thousands(rates[i]!)]
        .map((cell) => String(cell).padStart(10))
        .join("") + `  ${bar}`
    );
  });
  const head = ["rows", "p50 ms", "p95 ms", "runs", "rows/s"].map((cell) => cell.padStart(10)).join("");
  return [
    `${name} version ${version}, ${plural(threads, "thread")}`,
    ...(batchingReason === "" ? [] : [`  not batched: ${batchingReason}`]),
    head,
    ...table,
    ...(line === undefined
      ? []
      : [`  a run of n rows takes about ${line.fixedMs.toFixed(3)} + ${line.rowMs.toFixed(4)}·n ms`]),
    ...adviceLines(model, ask, advice),
    "",
  ].join("\n");
}

function adviceLines(
  model: MeasuredModel,
  { ratePerSecond }: BenchAsk,
  { sloMs, best, sizing }: BenchAdvice,
): string[] {
  if (sloMs === 0)
    return ["  give --slo-ms for the best batch size within it, and --rate-per-second for the workers needed"];
  if (best === undefined)
    return [`  no batch size keeps ${sloMs} ms: not even one row does, with the wait for its turn`];
  const workers = plural(best.workers, "worker");
  const lines = [
    `  within ${sloMs} ms with ${workers}: up to ${plural(best.rows, "row")} a run, ${thousands(best.rowsPerSecond)} rows/s each`,
  ];
  if (ratePerSecond > 0) {
    const needed = sizing === undefined ? "no number of workers will do" : `${plural(sizing.workers, "worker")} needed`;
    lines.push(`  ${thousands(ratePerSecond)} rows/s within ${sloMs} ms: ${needed}`);
  }
  if (model.batchingReason === "")
    lines.push("  for model.yaml:", `    max_batch_size: ${best.rows}`, `    slo_ms: ${Math.ceil(sloMs)}`);
  return lines;
}

/** One model as `--json` has it. */
export function benchJson(model: MeasuredModel, ask: BenchAsk): unknown {
  const { sloMs, best, sizing } = adviseOn(model, ask);
  const { name, version, threads, batchingReason, line, points } = model;
  return {
    model: name,
    version,
    threads,
    batching: batchingReason === "",
    batching_reason: batchingReason,
    points: points.map(({ rows, q50Ms, q95Ms, samples }) => ({
      rows,
      q50_ms: q50Ms,
      q95_ms: q95Ms,
      samples,
      rows_per_second: (1000 * rows) / q50Ms,
    })),
    line: line === undefined ? null : { fixed_ms: line.fixedMs, row_ms: line.rowMs },
    slo_ms: sloMs === 0 ? null : sloMs,
    best:
      best === undefined
        ? null
        : { workers: best.workers, rows: best.rows, q95_ms: best.q95Ms, rows_per_second: best.rowsPerSecond },
    rate_per_second: ask.ratePerSecond === 0 ? null : ask.ratePerSecond,
    workers_needed: sizing?.workers ?? null,
  };
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function thousands(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

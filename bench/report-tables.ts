import type { LimitMeasurement, Measurement, Results } from "./results.ts";
import { CONTROL, REFERENCE } from "./peers/peers.ts";
import { type Spread, spreadOf } from "./statistics.ts";
import { numberText } from "./svg-plot.ts";

/** The side that others are held against: its rate ÷ theirs, round by round. */
export const OURS = "Millrace, 1 gateway, 1 worker";

/** "1,234 (1,200–1,300)". */
export function cell({ median, min, max }: Spread): string {
  return min === max ? numberText(median) : `${numberText(median)} (${numberText(min)}–${numberText(max)})`;
}

/** The quotient of two sides of the same round, over the rounds that have both; undefined where none has. */
export function ratioOf(measurements: readonly Measurement[], above: string, below: string): Spread | undefined {
  const rates = (side: string): ReadonlyMap<number, number> =>
    new Map(measurements.filter((one) => one.side === side).map(({ round, perSecond }) => [round, perSecond]));
  const divisors = rates(below);
  const quotients = [...rates(above)].flatMap(([round, rate]) => {
    const divisor = divisors.get(round);
    return divisor === undefined ? [] : [rate / divisor];
  });
  return quotients.length === 0 ? undefined : spreadOf(quotients);
}

/** `pick` gives undefined where the side does not tell. */
type Column = { readonly head: string; readonly pick: (one: Measurement) => number | undefined };

const COST: readonly Column[] = [
  { head: "CPU µs", pick: ({ cpuUs }) => cpuUs },
  { head: "memory MB", pick: ({ memoryMb }) => memoryMb },
];

const CLOSED: readonly Column[] = [
  { head: "answers/s", pick: ({ perSecond }) => perSecond },
  { head: "p50 ms", pick: ({ latencyMs }) => latencyMs.p50 },
  { head: "p99 ms", pick: ({ latencyMs }) => latencyMs.p99 },
  { head: "p99.9 ms", pick: ({ latencyMs }) => latencyMs.p999 },
  ...COST,
  { head: "rows a run", pick: ({ meanBatchRows }) => meanBatchRows },
];

const OPEN: readonly Column[] = [
  { head: "due/s", pick: ({ ratePerSecond }) => ratePerSecond },
  { head: "in time/s", pick: inTimePerSecond },
  { head: "in time, %", pick: ({ openLoop }) => (openLoop?.attainedShare ?? 0) * 100 },
  { head: "shed", pick: ({ openLoop }) => openLoop?.outcomes.shed ?? 0 },
  { head: "p50 ms", pick: ({ openLoop }) => openLoop?.okLatencyMs.p50 ?? 0 },
  { head: "p99 ms", pick: ({ openLoop }) => openLoop?.okLatencyMs.p99 ?? 0 },
  { head: "p99.9 ms", pick: ({ openLoop }) => openLoop?.okLatencyMs.p999 ?? 0 },
  ...COST,
  { head: "generator's lag p99 ms", pick: ({ openLoop }) => openLoop?.lagMs.p99 ?? 0 },
];

const BURST: readonly Column[] = [
  { head: "last ms", pick: ({ openLoop }) => openLoop?.okLatencyMs.max ?? 0 },
  { head: "mean ms", pick: ({ openLoop }) => openLoop?.okLatencyMs.mean ?? 0 },
  { head: "answered, %", pick: answeredShare },
  ...COST,
];

function inTimePerSecond({ ratePerSecond = 0, openLoop }: Measurement): number {
  return ratePerSecond * (openLoop?.attainedShare ?? 0);
}

function answeredShare({ openLoop }: Measurement): number {
  if (openLoop === undefined) return 0;
  return ((openLoop.outcomes.attained + openLoop.outcomes.late) / openLoop.planned) * 100;
}

const COLUMNS = { closed: CLOSED, open: OPEN, burst: BURST } as const;

/** The table of one workload; sides in the order of the table of sides. */
export function workloadTable({ name, shape }: Results["workloads"][number], results: Results): string {
  const measurements = results.measurements.filter(({ workload }) => workload === name);
  const columns = COLUMNS[shape.kind];
  const isRated = shape.kind === "closed";
  const rows = results.sides.flatMap(({ name: side }) => {
    const own = measurements.filter((one) => one.side === side);
    if (own.length === 0) return [];
    const cells = columns.map(({ pick }) => {
      const values = own.flatMap((one) => pick(one) ?? []);
      return values.length === 0 ? "" : cell(spreadOf(values));
    });
    const ratio = side === OURS ? undefined : ratioOf(measurements, OURS, side);
    return [[side, ...cells, ...(isRated ? [ratio === undefined ? "" : cell(ratio)] : [])]];
  });
  const control = isRated ? ratioOf(measurements, CONTROL, REFERENCE) : undefined;
  return [
    table(["side", ...columns.map(({ head }) => head), ...(isRated ? ["Millrace ÷ it"] : [])], rows),
    ...(control === undefined ? [] : ["", `A/A control: ${CONTROL} ÷ ${REFERENCE} is ${cell(control)}.`]),
  ].join("\n");
}

export function limitTable(measurements: readonly LimitMeasurement[]): string {
  const names = [...new Set(measurements.map(({ what }) => what))];
  const hasCpu = measurements.some(({ cpuUs }) => cpuUs !== undefined);
  const rows = names.map((what) => {
    const own = measurements.filter((one) => one.what === what);
    const value = cell(spreadOf(own.map((one) => one.value)));
    return [what, value, ...(hasCpu ? [cell(spreadOf(own.map(({ cpuUs }) => cpuUs ?? 0)))] : [])];
  });
  return table(["", measurements[0]?.unit ?? "", ...(hasCpu ? ["CPU µs"] : [])], rows);
}

/** Where the processor time of a side goes, by process: medians, for sides of several processes. */
export function cpuTable(measurements: readonly Measurement[], side: string): string {
  const own = measurements.filter((one) => one.side === side);
  const names = [...new Set(own.flatMap(({ cpuUsByProcess }) => Object.keys(cpuUsByProcess)))].toSorted();
  const parts = names.map((name) => {
    const { median } = spreadOf(own.map(({ cpuUsByProcess }) => cpuUsByProcess[name] ?? 0));
    return `${name} ${numberText(median)}`;
  });
  return parts.join(", ");
}

/** Who else was at work on the machine; "" where the results do not tell. */
export function othersText(measurements: readonly Measurement[]): string {
  const shares = measurements.flatMap(({ othersShare }) => (othersShare === undefined ? [] : [othersShare * 100]));
  return shares.length === 0 ? "" : `Others took ${cell(spreadOf(shares))} % of the cores meanwhile.`;
}

/** How fast the runs of a side are by themselves; "" where it does not tell. */
export function runRateText(measurements: readonly Measurement[], side: string): string {
  const own = measurements.filter((one) => one.side === side);
  const rates = own.flatMap((one) => one.runRowsPerSecond ?? []);
  if (rates.length === 0) return "";
  const text = `While its worker ran the model, it ran ${cell(spreadOf(rates))} rows a second`;
  const cpuRates = own.flatMap((one) => one.runRowsPerCpuSecond ?? []);
  return cpuRates.length === 0
    ? `${text}.`
    : `${text}, and ${cell(spreadOf(cpuRates))} in each second that its slot's thread had a core.`;
}

export function settingsTable({ sides, environment }: Results): string {
  const rows = sides.map(({ name, settings, advice }) => [name, settings, advice === "" ? "ours" : advice]);
  const peers = Object.values(environment.peers).flat();
  const versions = [...new Set(peers)].toSorted((a, b) => a.localeCompare(b)).map((line) => line.replace("==", " "));
  const asked =
    'The Python peers but MLServer are asked in a form of their own, `{"data": […]}`, which is less JSON than ours.';
  return [
    table(["side", "settings", "advised by"], rows, "---"),
    "",
    asked,
    "",
    `Versions of the Python peers: ${versions.join(", ")}.`,
  ].join("\n");
}

/** Columns after the first are numbers, to the right, unless told otherwise. */
export function table(head: readonly string[], rows: readonly (readonly string[])[], column = "---:"): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(head), `|---|${`${column}|`.repeat(head.length - 1)}`, ...rows.map(line)].join("\n");
}

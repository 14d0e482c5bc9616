import { table } from "../report-tables.ts";
import { numberText } from "../svg-plot.ts";
import { absoluteLimit, staggeredLimit } from "./device.ts";
import { isMet, type PartResult, type SuiteProbe } from "./results.ts";

const percent = (share: number): string => `${numberText(100 * share)} %`;

/** Every figure that is held against a bound, in the order of the parts. */
export function checkTable(parts: readonly PartResult[]): string {
  const rows = parts.flatMap(({ name, workers, checks }) =>
    checks.map((check) => {
      const { what, value, unit, atLeast, atMost } = check;
      const bounds = [
        ...(atLeast === undefined ? [] : [`≥ ${atLeast}`]),
        ...(atMost === undefined ? [] : [`≤ ${atMost}`]),
      ];
      const text = `${Number(value.toPrecision(3))}${unit === "" ? "" : ` ${unit}`}`;
      return [name, String(workers), what, text, bounds.join(", "), isMet(check) ? "yes" : "**no**"];
    }),
  );
  return table(["part", "workers", "what", "found", "bound", "met"], rows);
}

/** The highest rates that hold, by the number of workers. */
export function lambdaTable(parts: readonly PartResult[]): string {
  const rows = parts
    .filter(({ name }) => name === "B4")
    .map(({ workers, facts }) => {
      const line = { fixedMs: facts["a ms"] ?? 0, rowMs: facts["b ms"] ?? 0 };
      const [live = 0, drawn = 0, long = 0] = ["", " simulated", " simulated, long run"].map(
        (suffix) => facts[`lambda99${suffix}`],
      );
      const limits = [staggeredLimit(workers, line), absoluteLimit(workers, line)];
      return [
        String(workers),
        ...[live, drawn].map(numberText),
        numberText(live / drawn),
        ...[long, ...limits].map(numberText),
        `${numberText(line.fixedMs)} + ${numberText(line.rowMs)}·n`,
      ];
    });
  return table(
    [
      "workers",
      "λ99 live, /s",
      "simulator, same arrivals",
      "live ÷ it",
      "simulator, long run",
      "λ_stag",
      "λ_abs",
      "measured batch time, ms",
    ],
    rows,
  );
}

/** What becomes of more than can be done. */
export function overloadTable(parts: readonly PartResult[]): string {
  const rows = parts
    .filter(({ name }) => name === "B5")
    .flatMap(({ workers, probes }) =>
      probes.map(({ name, ratePerSecond, goodputPerSecond, openLoop, lateRunShare }) => {
        const { sheds, planned } = openLoop;
        return [
          String(workers),
          name,
          numberText(ratePerSecond),
          numberText(goodputPerSecond),
          percent(sheds.atDoorMs.count / planned),
          numberText(sheds.atDoorMs.p99),
          percent(sheds.laterMs.count / planned),
          numberText(sheds.afterDecisionMs.p99),
          percent(sheds.expired / planned),
          percent(lateRunShare),
        ];
      }),
    );
  return table(
    [
      "workers",
      "load",
      "due/s",
      "in time/s",
      "refused at the door",
      "p99 ms",
      "shed later",
      "p99 ms after the decision",
      "expired",
      "run, but late",
    ],
    rows,
  );
}

/** Every probe of the parts, with what the system and the generators used. */
export function probeTable(parts: readonly PartResult[]): string {
  const rows = parts.flatMap(({ name, probes }) =>
    probes.filter((one) => one.name !== "search").map((one) => [name, ...probeCells(one)]),
  );
  const head = [
    "part",
    "workers",
    "probe",
    "due/s",
    "in time",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "rows a run",
    "cores: system",
    "load",
    "others",
    "generator's lag p99 ms",
  ];
  return table(head, rows);
}

function probeCells({ workers, name, ratePerSecond, openLoop, meanBatchRows, cores }: SuiteProbe): string[] {
  const { okLatencyMs, attainedShare, lagMs } = openLoop;
  const system = Object.values(cores.byProcess).reduce((sum, one) => sum + one, 0);
  const numbers = [
    okLatencyMs.p50,
    okLatencyMs.p99,
    okLatencyMs.p999,
    meanBatchRows,
    system,
    cores.load,
    cores.others,
    lagMs.p99,
  ];
  return [String(workers), name, numberText(ratePerSecond), percent(attainedShare), ...numbers.map(numberText)];
}

import type { Measurement, Results } from "./results.ts";
import { spreadOf } from "./statistics.ts";
import { barPlot, type Line, linePlot } from "./svg-plot.ts";

/** A plot and the section that it belongs to: the name of a workload or of a limit. */
export type ReportPlot = {
  readonly workload: string;
  readonly name: string;
  readonly title: string;
  readonly svg: string;
};

/** The plots of a run: rates and costs of each closed loop, in time or last answer of others, and what grows along an axis. */
export function plotsOf(results: Results): ReportPlot[] {
  const plots = results.workloads.flatMap((workload) => workloadPlots(workload, results));
  return [...plots, ...connectionPlot(results), ...batchPlot(results)];
}

type Pick = (one: Measurement) => number;

function workloadPlots({ name, title, shape }: Results["workloads"][number], results: Results): ReportPlot[] {
  const measurements = results.measurements.filter(({ workload }) => workload === name);
  const bars = (
    suffix: string,
    what: { readonly title: string; readonly unit: string; readonly pick: Pick },
  ): ReportPlot => {
    const full = `${title}: ${what.title}`;
    const sides = results.sides.flatMap(({ name: side }) => {
      const own = measurements.filter((one) => one.side === side);
      const isOurs = side.startsWith("Millrace");
      return own.length === 0 ? [] : [{ label: side, value: spreadOf(own.map(what.pick)), isOurs }];
    });
    const svg = barPlot({ title: full, unit: what.unit, bars: sides });
    return { workload: name, name: `${name}-${suffix}`, title: full, svg };
  };
  if (measurements.length === 0) return [];
  const cpu = bars("cpu", {
    title: "processor time",
    unit: "CPU µs a request, all processes",
    pick: ({ cpuUs }) => cpuUs,
  });
  const latency = bars("latency", { title: "median latency", unit: "ms", pick: ({ latencyMs }) => latencyMs.p50 });
  const last = bars("last", {
    title: "the last answer",
    unit: "ms",
    pick: ({ openLoop }) => openLoop?.okLatencyMs.max ?? 0,
  });
  const rate = bars("rate", { title: "throughput", unit: "answers a second", pick: ({ perSecond }) => perSecond });
  const late = bars("late", {
    title: "p99 from when requests were due",
    unit: "ms",
    pick: ({ openLoop }) => openLoop?.okLatencyMs.p99 ?? 0,
  });
  switch (shape.kind) {
    case "closed":
      return shape.connections === 1 ? [latency] : [rate, cpu];
    case "open":
      return [late];
    case "burst":
      return [last];
  }
}

/** Throughput of the small model over connections, for the sides that were measured at three numbers of them or more. */
function connectionPlot({ workloads, sides, measurements }: Results): ReportPlot[] {
  const closed = workloads.flatMap(({ name, shape }) =>
    shape.kind === "closed" && /^small-\d+$/.test(name) ? [{ name, connections: shape.connections }] : [],
  );
  const lines = sides.flatMap(({ name }): Line[] => {
    const points = closed.flatMap(({ name: workload, connections }) => {
      const own = measurements.filter((one) => one.workload === workload && one.side === name);
      return own.length === 0 ? [] : [{ x: connections, value: spreadOf(own.map(({ perSecond }) => perSecond)) }];
    });
    return points.length < 3 ? [] : [{ name, points: points.toSorted((a, b) => a.x - b.x) }];
  });
  if (lines.length === 0) return [];
  const title = "Small MLP: throughput over connections";
  const svg = linePlot({ title, x: "connections", unit: "answers a second", lines });
  const [workload = ""] = closed.map(({ name }) => name);
  return [{ workload, name: "small-connections", title, svg }];
}

/** Rows a second of onnxruntime over the batch size, as a share of its best, so that both models fit. */
function batchPlot({ limits }: Results): ReportPlot[] {
  const lines = ["small", "heavy"].flatMap((model): Line[] => {
    const own = limits.filter(({ limit, what }) => limit === "onnxruntime" && what.startsWith(`${model},`));
    const batches = [...new Set(own.map(({ what }) => Number(/\d+$/.exec(what)?.[0])))];
    const spreads = batches.map((batch) => ({
      x: batch,
      value: spreadOf(own.filter(({ what }) => what.endsWith(` ${batch}`)).map(({ value }) => value)),
    }));
    const best = Math.max(...spreads.map(({ value }) => value.median));
    const share = (rows: number): number => (rows / best) * 100;
    const points = spreads.map(({ x, value: { median, min, max } }) => ({
      x,
      value: { median: share(median), min: share(min), max: share(max) },
    }));
    return points.length === 0
      ? []
      : [{ name: `${model} MLP, best ${Math.round(best).toLocaleString("en-US")} rows/s`, points }];
  });
  if (lines.length === 0) return [];
  const title = "onnxruntime alone: rows a second over the batch size";
  const svg = linePlot({ title, x: "rows a run", unit: "% of the best", lines });
  return [{ workload: "onnxruntime", name: "onnxruntime-batches", title, svg }];
}

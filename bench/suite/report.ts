/**
 * Makes tables and plots of the suite's raw results: the part of docs/scheduling.md between its two marks, and docs/scheduling/*.svg.
 *
 *     node bench/suite/report.ts RESULTS_FILE [--out FOLDER]      # --out: into FOLDER/report.md and beside it, instead
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../../tests/support/repository.ts";
import { replaceBetweenMarks } from "../report-marks.ts";
import { type Line, linePlot } from "../svg-plot.ts";
import { SWEEP_LOADS } from "./parts/poisson.ts";
import { checkTable, lambdaTable, overloadTable, probeTable } from "./report-tables.ts";
import type { PartResult, SuiteResults } from "./results.ts";

type Plot = { readonly name: string; readonly title: string; readonly svg: string };

const exactly = (value: number): { readonly median: number; readonly min: number; readonly max: number } => ({
  median: value,
  min: value,
  max: value,
});

/** What grows with the load, one line for each number of workers. */
function plotsOf(parts: readonly PartResult[]): Plot[] {
  const swept = parts.filter(({ name }) => name === "B4");
  const linesOf = (
    facts: readonly (readonly [fact: string, label: string])[],
    scale: (workers: number) => number,
  ): Line[] =>
    swept.flatMap(({ workers, facts: found }) =>
      facts.map(([fact, label]) => ({
        name: `${workers} worker${workers === 1 ? "" : "s"}${label}`,
        points: SWEEP_LOADS.flatMap((load) => {
          const value = found[`load ${load} ${fact}`];
          return value === undefined ? [] : [{ x: load * 100, value: exactly(value * scale(workers)) }];
        }),
      })),
    );
  const plot = (name: string, title: string, rest: { readonly unit: string; readonly lines: Line[] }): Plot[] =>
    rest.lines.some(({ points }) => points.length > 1)
      ? [{ name, title, svg: linePlot({ title, x: "load, % of (N/b)(1 − a/D)", ...rest }) }]
      : [];
  const same = (): number => 1;
  return [
    ...plot("latency-p50", "Median latency of answers over load", {
      unit: "ms",
      lines: linesOf([["p50 ms", ""]], same),
    }),
    ...plot("latency-p99", "p99 of answers over load", { unit: "ms", lines: linesOf([["p99 ms", ""]], same) }),
    ...plot("goodput", "Answered in time over load, a worker", {
      unit: "requests a second, a worker",
      lines: linesOf([["goodput", ""]], (workers) => 1 / workers),
    }),
    ...plot("rows", "Rows of a run over load", { unit: "rows", lines: linesOf([["rows", ""]], same) }),
  ];
}

function headText(parts: readonly PartResult[], file: string): string {
  const [first] = parts;
  if (first === undefined) throw new Error("the file has no part");
  const { cores, processor, versions } = first.environment;
  const commits = [
    ...new Set(
      parts.map(({ environment: { commit, isDirty } }) => `${commit.slice(0, 10)}${isDirty ? " with changes" : ""}`),
    ),
  ];
  const named = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const minutes = parts.reduce((sum, { seconds }) => sum + seconds, 0) / 60;
  const scales = [...new Set(parts.map(({ scale }) => scale))].filter((scale) => scale !== 1);
  const short = scales.length === 0 ? "" : ` **Not all at full length: ${scales.join(", ")} of it.**`;
  const idle = [...new Set(parts.map(({ idleCores }) => idleCores))].join(" and ");
  const ahead = parts.every(({ generators }) => generators === "first") ? "; generators before all else" : "";
  return `Measured ${first.startedAt.slice(0, 10)}, commit ${commits.join(", ")}, ${cores} cores (${processor}; idle ones ${idle}${ahead}), ${named.join(", ")}; ${minutes.toFixed(0)} minutes; raw in \`bench/results/${file}\`.${short} Every answer was checked, all right.`;
}

function toMarkdown({ parts }: SuiteResults, plots: readonly Plot[], file: string): string {
  const titles = new Map(parts.map(({ name, title }) => [name, title]));
  const section = (title: string, text: string): string[] =>
    text.split("\n").length <= 2 ? [] : ["", `### ${title}`, "", text];
  return [
    headText(parts, file),
    ...section("Held against bounds", checkTable(parts)),
    ...section("The highest rate of which 99 % are in time", lambdaTable(parts)),
    ...plots.flatMap(({ name, title }) => ["", `![${title}](scheduling/${name}.svg)`]),
    ...section("Overload", overloadTable(parts)),
    ...section("Every load", probeTable(parts)),
    "",
    [...titles].map(([name, title]) => `${name}: ${title}.`).join(" "),
  ].join("\n");
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ options: { out: { type: "string" } }, allowPositionals: true });
  const [file] = positionals;
  if (file === undefined || positionals.length > 1) {
    console.error("usage: node bench/suite/report.ts RESULTS_FILE [--out FOLDER]");
    process.exitCode = 2;
    return;
  }
  const results = JSON.parse(await readFile(file, "utf8")) as SuiteResults;
  const out = values.out ?? join(ROOT, "docs");
  const plots = plotsOf(results.parts);
  await mkdir(join(out, "scheduling"), { recursive: true });
  for (const { name, svg } of plots) await writeFile(join(out, "scheduling", `${name}.svg`), svg);
  const markdown = toMarkdown(results, plots, basename(file));
  if (values.out === undefined) {
    const page = join(out, "scheduling.md");
    await writeFile(page, replaceBetweenMarks(await readFile(page, "utf8"), markdown, "bench/suite/report.ts"));
  } else await writeFile(join(out, "report.md"), `${markdown}\n`);
}

if (import.meta.main) await main();

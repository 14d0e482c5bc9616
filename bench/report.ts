/**
 * Makes tables and plots of raw results: the part of docs/performance.md between its two marks, and docs/performance/*.svg.
 *
 *     node bench/report.ts RESULTS_FILE [--out FOLDER]      # --out: into FOLDER/report.md and beside it, instead
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../tests/support/repository.ts";
import { replaceBetweenMarks } from "./report-marks.ts";
import { plotsOf } from "./report-plots.ts";
import { cpuTable, limitTable, othersText, OURS, runRateText, settingsTable, workloadTable } from "./report-tables.ts";
import type { Results } from "./results.ts";

const LIMIT_TITLES: Readonly<Record<string, string>> = {
  onnxruntime: "onnxruntime alone, one thread",
  echo: "The HTTP stack without a model: the body is read, the answer is a text written beforehand",
  broker: "The broker between a fake gateway and a fake worker; CPU is the broker's",
  residence:
    "Round trip through the broker at a fixed rate of requests of 256 B; two hops of ZeroMQ and both fakes are in it",
};

function toMarkdown(results: Results, file: string): string {
  const { environment, options, workloads, measurements, limits, skipped, date } = results;
  const plots = plotsOf(results);
  const { commit, isDirty, cores, processor, versions } = environment;
  const named = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const checked = measurements.reduce((sum, one) => sum + one.checked, 0).toLocaleString("en-US");
  const lines = [
    `Measured ${date.slice(0, 10)}, commit ${commit.slice(0, 10)}${isDirty ? " with changes" : ""}, ${cores} cores (${processor}), ${named.join(", ")}; ${options.rounds} interleaved rounds of ${options.seconds} s; raw in \`bench/results/${file}\`. Medians (lowest–highest). ${checked} answers were checked, all right. CPU is user and system time of all processes of a side, a request; memory is their proportional set size. Load and sides share the cores.`,
  ];
  for (const workload of workloads) {
    const own = measurements.filter((one) => one.workload === workload.name);
    if (own.length === 0) continue;
    lines.push("", `### ${capital(workload.title)}`, "");
    for (const { name, title } of plots.filter((plot) => plot.workload === workload.name)) {
      lines.push(`![${title}](performance/${name}.svg)`, "");
    }
    lines.push(workloadTable(workload, results));
    const cpu = cpuTable(own, OURS);
    if (cpu !== "") lines.push("", `CPU µs of ${OURS}, by process: ${cpu}.`);
    const runs = runRateText(own, OURS);
    if (runs !== "") lines.push("", runs);
    const others = othersText(own);
    if (others !== "") lines.push("", others);
  }
  for (const [limit, title] of Object.entries(LIMIT_TITLES)) {
    const own = limits.filter((one) => one.limit === limit);
    if (own.length === 0) continue;
    lines.push("", `### ${title}`, "");
    for (const plot of plots.filter((one) => one.workload === limit)) {
      lines.push(`![${plot.title}](performance/${plot.name}.svg)`, "");
    }
    lines.push(limitTable(own));
  }
  lines.push("", "### How each side was set", "", settingsTable(results));
  if (skipped.length > 0) {
    const items = skipped.map(({ workload, side, reason }) => `- ${side} (${workload}): ${reason.split("\n", 1)[0]}`);
    lines.push("", "Left out:", "", ...items);
  }
  return lines.join("\n");
}

const capital = (text: string): string => text.slice(0, 1).toUpperCase() + text.slice(1);

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ options: { out: { type: "string" } }, allowPositionals: true });
  const [file] = positionals;
  if (file === undefined || positionals.length > 1) {
    console.error("usage: node bench/report.ts RESULTS_FILE [--out FOLDER]");
    process.exitCode = 2;
    return;
  }
  const results = JSON.parse(await readFile(file, "utf8")) as Results;
  const out = values.out ?? join(ROOT, "docs");
  await mkdir(join(out, "performance"), { recursive: true });
  for (const { name, svg } of plotsOf(results)) await writeFile(join(out, "performance", `${name}.svg`), svg);
  const markdown = toMarkdown(results, basename(file));
  if (values.out === undefined) {
    const page = join(out, "performance.md");
    await writeFile(page, replaceBetweenMarks(await readFile(page, "utf8"), markdown, "bench/report.ts"));
  } else await writeFile(join(out, "report.md"), `${markdown}\n`);
}

if (import.meta.main) await main();

/**
 * The benchmark: sides under workloads, and the limits of the machine beside them.
 *
 *     node bench/run.ts [--workload NAME|all]... [--side TEXT]... [--limit NAME|none]... [--rounds 5] [--seconds 1] [--list]
 *
 * `--side` picks those whose name contains the text, instead of the workload's own. Raw results go to bench/results after each
 * workload, and an interrupted run (Ctrl-C) leaves what it had; `node bench/report.ts` makes tables and plots of them.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../tests/support/repository.ts";
import { temporaryFolder } from "../tests/support/temporary-folder.ts";
import { compare } from "./comparison.ts";
import { describeEnvironment } from "./environment.ts";
import { LIMITS, type LimitRow } from "./limits/limits.ts";
import type { LimitMeasurement, Measurement, Results, Skipped } from "./results.ts";
import type { SideRow } from "./side.ts";
import { SIDES } from "./sides.ts";
import { serveModel, type Workload, WORKLOADS } from "./workloads.ts";
import { assertWrk } from "./wrk.ts";

const { values } = parseArgs({
  options: {
    workload: { type: "string", multiple: true, default: [] },
    side: { type: "string", multiple: true, default: [] },
    limit: { type: "string", multiple: true, default: [] },
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "1" },
    list: { type: "boolean", default: false },
  },
});

const say = (text: string): void => void process.stderr.write(`${text}\n`);

function chosenWorkloads(): Workload[] {
  const { workload: names } = values;
  if (names.includes("all")) return [...WORKLOADS];
  for (const name of names) {
    if (name !== "none" && WORKLOADS.every((workload) => workload.name !== name))
      throw new RangeError(`no workload ${name}`);
  }
  return WORKLOADS.filter(({ name, isDefault }) => (names.length === 0 ? isDefault : names.includes(name)));
}

function chosenSides({ sides }: Workload): SideRow[] {
  const { side: texts } = values;
  if (texts.length > 0) return SIDES.filter(({ name }) => texts.some((text) => name.includes(text)));
  return SIDES.filter(({ name }) => sides.includes(name));
}

/** All of them where neither workloads nor limits were asked for by name. */
function chosenLimits(): LimitRow[] {
  const { limit: names, workload } = values;
  if (names.length === 0) return workload.length === 0 || workload.includes("all") ? [...LIMITS] : [];
  return LIMITS.filter(({ name }) => names.includes(name));
}

function list(): void {
  for (const { name, title, sides } of WORKLOADS) process.stdout.write(`${name}: ${title}\n    ${sides.join("; ")}\n`);
  for (const { name, title } of LIMITS) process.stdout.write(`limit ${name}: ${title}\n`);
}

async function main(): Promise<void> {
  const [rounds, ms] = [Number(values.rounds), Number(values.seconds) * 1000];
  if (!(Number.isInteger(rounds) && rounds > 0 && ms >= 1000)) throw new RangeError("rounds and seconds are 1 or more");
  await assertWrk();
  const abort = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => abort.abort(new Error(signal)));
  await using folder = await temporaryFolder();
  const startedMs = performance.now();
  const [workloads, limitRows] = [chosenWorkloads(), chosenLimits()];
  const date = new Date().toISOString();
  const environment = describeEnvironment();
  const measurements: Measurement[] = [];
  const limits: LimitMeasurement[] = [];
  const skipped: Skipped[] = [];
  const file = join(ROOT, "bench", "results", `run-${date.slice(0, 19).replace(/[-:]/g, "").replace("T", "-")}.json`);
  const save = async (): Promise<void> => {
    const results: Results = {
      date,
      environment,
      options: { rounds, seconds: ms / 1000 },
      workloads: workloads.map(({ name, title, shape }) => ({ name, title, shape })),
      sides: SIDES.filter(({ name }) => measurements.some(({ side }) => side === name)).map(
        ({ name, settings, advice }) => ({ name, settings, advice }),
      ),
      measurements,
      limits,
      skipped,
    };
    await mkdir(join(ROOT, "bench", "results"), { recursive: true });
    await writeFile(file, `${JSON.stringify(results)}\n`);
  };
  const { signal } = abort;
  const progress = (text: string): void => say(`${Math.round((performance.now() - startedMs) / 1000)} s  ${text}`);
  const common = { rounds, ms, folder: folder.path, signal, say: progress };
  try {
    for (const limit of limitRows) {
      limits.push(...(await limit.measure(common)));
      await save();
    }
    for (const workload of workloads) {
      const model = await serveModel(workload.model, folder.path);
      await compare({ ...common, workload, model, rows: chosenSides(workload), measurements, skipped });
      await save();
    }
  } catch (error) {
    await save();
    if (!signal.aborted) throw error;
    progress("interrupted");
    process.exitCode = 130;
  }
  if (skipped.some(({ reason }) => reason.includes("mismatches"))) process.exitCode = 1;
  process.stdout.write(`${relative(ROOT, file)}\n`);
}

if (values.list) list();
else await main();

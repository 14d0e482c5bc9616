/**
 * The suite of the scheduler: whole live systems on simulated devices under open loops, every answer checked, held against what the
 * simulator of the policy reaches with the same batch times.
 *
 *     node bench/suite/run.ts [--only B4]... [--workers 1,8] [--scale 1] [--seed 1] [--into FILE] [--list]
 *
 * Each part is run with each of its numbers of workers by itself, and its results are in the file when it has ended; `--into` goes on
 * with a file, and leaves out what is in it. `node bench/suite/report.ts` makes tables and plots. Exit code 1: a wrong or lost answer;
 * 2: every answer was right, and a bound was missed, in this run or in a part that the file had; 130: interrupted.
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../../tests/support/repository.ts";
import { describeEnvironment } from "../environment.ts";
import { GENERATOR_PRIORITY } from "./generator.ts";
import { keepCoresAwake } from "./idle-cores.ts";
import { checkText, type PartRow, PartRun } from "./part.ts";
import { PARTS } from "./parts/parts.ts";
import { isMet, type PartResult, type SuiteResults } from "./results.ts";

const { values } = parseArgs({
  options: {
    only: { type: "string", multiple: true, default: [] },
    workers: { type: "string", default: "" },
    scale: { type: "string", default: "1" },
    seed: { type: "string", default: "1" },
    into: { type: "string" },
    list: { type: "boolean", default: false },
  },
});

/** The exit code where a bound was missed: right answers, but not soon enough or not enough of them. */
const MISSED = 2;

type Unit = { readonly part: PartRow; readonly workers: number };

function chosenUnits(): Unit[] {
  const names = values.only.flatMap((text) => text.split(","));
  for (const name of names) {
    if (PARTS.every((part) => part.name !== name)) throw new RangeError(`no part ${name}; --list names them`);
  }
  const asked = values.workers === "" ? [] : values.workers.split(",").map(Number);
  if (asked.some((count) => !(Number.isInteger(count) && count > 0)))
    throw new RangeError("--workers is a list such as 1,8");
  return PARTS.filter(({ name }) => names.length === 0 || names.includes(name)).flatMap((part) =>
    part.workers.filter((count) => asked.length === 0 || asked.includes(count)).map((workers) => ({ part, workers })),
  );
}

/** The results of a suite, in its file after each change. */
class ResultsFile {
  readonly path: string;
  readonly #parts: PartResult[];

  private constructor(path: string, parts: PartResult[]) {
    this.path = path;
    this.#parts = parts;
  }

  static async open(path: string | undefined): Promise<ResultsFile> {
    if (path === undefined) {
      const stamp = new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "-");
      return new ResultsFile(join(ROOT, "bench", "results", `suite-${stamp}.json`), []);
    }
    if (!existsSync(path)) return new ResultsFile(path, []);
    const { parts } = JSON.parse(await readFile(path, "utf8")) as SuiteResults;
    return new ResultsFile(path, [...parts]);
  }

  find(name: string, workers: number): PartResult | undefined {
    return this.#parts.find((part) => part.name === name && part.workers === workers);
  }

  async add(part: PartResult): Promise<void> {
    this.#parts.push(part);
    const results: SuiteResults = { suite: 1, parts: this.#parts };
    await mkdir(dirname(this.path), { recursive: true });
    await writeFile(`${this.path}.part`, `${JSON.stringify(results)}\n`);
    await rename(`${this.path}.part`, this.path);
  }
}

const abort = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => abort.abort(new Error(signal)));
const startedMs = performance.now();
const say = (text: string): void => {
  process.stderr.write(`${String(Math.round((performance.now() - startedMs) / 1000)).padStart(5)} s  ${text}\n`);
};

/** Undefined where the part says that it cannot be run. */
async function runUnit({ part, workers }: Unit, file: ResultsFile): Promise<PartResult | undefined> {
  const [scale, seed, fromMs] = [Number(values.scale), Number(values.seed), performance.now()];
  const name = `${part.name}, ${workers} worker${workers === 1 ? "" : "s"}`;
  say(`${name}: ${part.title}`);
  const run = new PartRun({
    workers,
    scale,
    seed,
    signal: abort.signal,
    say: (text) => say(`${name}  ${text}`),
    factOf: (other, fact, count = workers) => file.find(other, count)?.facts[fact],
  });
  const missing = part.missing?.(run.context) ?? "";
  if (missing !== "") {
    say(`${name}: left out: ${missing}`);
    return undefined;
  }
  const startedAt = new Date().toISOString();
  using idle = keepCoresAwake();
  await part.run(run);
  const seconds = (performance.now() - fromMs) / 1000;
  return {
    name: part.name,
    title: part.title,
    workers,
    startedAt,
    seconds,
    environment: describeEnvironment(),
    idleCores: idle.state,
    generators: GENERATOR_PRIORITY,
    scale,
    ...run.findings,
  };
}

async function main(): Promise<void> {
  if (!(Number(values.scale) > 0 && Number.isInteger(Number(values.seed))))
    throw new RangeError("--scale is above 0, --seed whole");
  const units = chosenUnits();
  if (values.list) {
    for (const { name, title, workers } of PARTS)
      process.stdout.write(`${name}: ${title} (${workers.join(", ")} workers)\n`);
    return;
  }
  const file = await ResultsFile.open(values.into);
  try {
    for (const [at, unit] of units.entries()) {
      if (file.find(unit.part.name, unit.workers) !== undefined) {
        say(`${unit.part.name}, ${unit.workers}: is in the file`);
        continue;
      }
      const result = await runUnit(unit, file);
      if (result !== undefined) await file.add(result);
      say(`${at + 1} of ${units.length} done`);
    }
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    say("interrupted; --into goes on");
    process.exitCode = 130;
  } finally {
    const missed = units.flatMap(({ part, workers }) =>
      (file.find(part.name, workers)?.checks ?? [])
        .filter((check) => !isMet(check))
        .map((check) => `${part.name}, ${workers}: ${checkText(check)}`),
    );
    for (const line of missed) say(`missed  ${line}`);
    if (missed.length > 0) process.exitCode ??= MISSED;
    process.stdout.write(`${relative(process.cwd(), file.path)}\n`);
  }
}

await main();

/**
 * Throughput under a saturating load of a small model, beside the same model in one plain `node:http` process.
 *
 *     node bench/throughput.ts [--repetitions 5] [--seconds 5] [--connections 256] [--load wrk|checked]
 *
 * wrk loads, and a second load beside it, one connection that has one request under way, checks each of its answers; with
 * `--load checked` our own generator does both and checks one answer in fifty, for three times the processor time.
 *
 * All sides run the whole time and are loaded in turn, in another order each round, because machines change their speed
 * within minutes: only ratios inside a round count. The monolith takes part twice (two processes): the ratio of the two is
 * what the machine does to numbers that should be equal. Raw results go to bench/results.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { runCheckedLoad, startLoad } from "../tests/support/load.ts";
import type { LoadPlan, LoadReport } from "../tests/support/load-plan.ts";
import { cpuMsOf, type TreeProcess } from "../tests/support/process-tree.ts";
import type { RowPoolOptions } from "../tests/support/row-pool.ts";
import { ROOT } from "../tests/support/repository.ts";
import { StartedProcess } from "../tests/support/started-process.ts";
import { DevSystem } from "../tests/support/system.ts";
import { temporaryFolder } from "../tests/support/temporary-folder.ts";
import { describeEnvironment } from "./environment.ts";
import { smallMlp, writeBenchModels } from "./models.ts";
import { spreadOf, spreadText } from "./statistics.ts";
import { WrkLoad } from "./wrk-load.ts";

/** One thing that is measured. */
type Side = {
  readonly name: string;
  readonly urls: readonly string[];
  readonly isMillrace: boolean;
  readonly processes: () => readonly TreeProcess[];
};

/** One measurement of one side. Times in milliseconds, processor time in microseconds a request. */
type Measurement = {
  readonly round: number;
  readonly side: string;
  readonly requests: number;
  readonly elapsedMs: number;
  readonly requestsPerSecond: number;
  readonly cpuUs: number;
  readonly cpuUsByProcess: Readonly<Record<string, number>>;
  readonly loadCpuUs: number;
  readonly latencyMs: Load["latencyMs"];
  readonly checked: number;
  readonly meanBatchRows: number;
};

const PREBUILT = 1024;
const CHECK_EVERY = 50;
const WARM_UP_MS = 4_000;
const PEER = "monolith";
const CONTROL = "monolith again";

const { values } = parseArgs({
  options: {
    repetitions: { type: "string", default: "5" },
    seconds: { type: "string", default: "5" },
    connections: { type: "string", default: "256" },
    load: { type: "string", default: "wrk" },
  },
});
const repetitions = Number(values.repetitions);
const durationMs = Number(values.seconds) * 1000;
const connections = Number(values.connections);

/** What a load of one side came to. Times in milliseconds; `cpuMs` is the generators' own. */
type Load = {
  readonly answers: number;
  readonly elapsedMs: number;
  readonly latencyMs: { readonly p50: number; readonly p99: number };
  readonly cpuMs: number;
  readonly checked: number;
  readonly meanBatchRows: number;
};

/** Throws unless every answer is 200, and right where it was checked. */
function toLoad(side: Side, report: LoadReport): Load {
  const { identity, faults, firstFaults, answers, elapsedMs, latencyMs, cpuMs } = report;
  if (identity.mismatches > 0 || faults > 0 || Object.keys(identity.statuses).join() !== "200") {
    throw new Error(`${side.name}: ${JSON.stringify({ ...identity, faults, firstFaults })}`);
  }
  const meanBatchRows = identity.batches[smallMlp.name]?.meanRows ?? 1;
  return { answers, elapsedMs, latencyMs, cpuMs, checked: identity.requests, meanBatchRows };
}

function planOf(side: Side, pool: RowPoolOptions): Omit<LoadPlan, "connections"> {
  const { urls, isMillrace: isTimed } = side;
  return { urls, requests: Number.MAX_SAFE_INTEGER, pools: [pool], seed: 6, rowsMax: 1, prebuilt: PREBUILT, isTimed };
}

/** wrk saturates, and one connection beside it checks. */
async function loadByWrk(
  side: Side,
  pool: RowPoolOptions,
  { wrk, ms }: { readonly wrk: WrkLoad; readonly ms: number },
): Promise<Load> {
  await using checking = await startLoad({ ...planOf(side, pool), connections: 1 });
  const share = { connections: Math.ceil(connections / side.urls.length), durationMs: ms };
  const reports = await Promise.all(side.urls.map((url) => wrk.run(url, share)));
  const checked = toLoad(side, await checking.stop());
  const mean = (values: readonly number[]): number => values.reduce((sum, one) => sum + one, 0) / values.length;
  return {
    answers: checked.answers + reports.reduce((sum, { answers }) => sum + answers, 0),
    elapsedMs: mean(reports.map(({ elapsedMs }) => elapsedMs)),
    latencyMs: {
      p50: mean(reports.map(({ latencyMs }) => latencyMs.p50)),
      p99: mean(reports.map(({ latencyMs }) => latencyMs.p99)),
    },
    cpuMs: checked.cpuMs + reports.reduce((sum, { cpuMs }) => sum + cpuMs, 0),
    checked: checked.checked,
    meanBatchRows: checked.meanBatchRows,
  };
}

async function measure(side: Side, round: number, load: (side: Side) => Promise<Load>): Promise<Measurement> {
  const processes = side.processes();
  const before = processes.map(({ pid }) => cpuMsOf(pid));
  const { answers, elapsedMs, latencyMs, cpuMs, checked, meanBatchRows } = await load(side);
  const cpuUs = processes.map(({ pid }, i) => ((cpuMsOf(pid) - before[i]!) * 1000) / answers);
  return {
    round,
    side: side.name,
    requests: answers,
    elapsedMs,
    requestsPerSecond: answers / (elapsedMs / 1000),
    cpuUs: cpuUs.reduce((sum, one) => sum + one, 0),
    cpuUsByProcess: Object.fromEntries(processes.map(({ name }, i) => [name || "main", cpuUs[i]!])),
    loadCpuUs: (cpuMs * 1000) / answers,
    latencyMs,
    checked,
    meanBatchRows,
  };
}

/** Each side's spread over the rounds, as a Markdown table; ratios are to the mean of both monoliths in the same round. */
function toTable(sides: readonly Side[], measurements: readonly Measurement[]): string {
  const of = (side: string): readonly Measurement[] => measurements.filter((one) => one.side === side);
  const reference = (round: number): number => {
    const peers = measurements.filter((one) => one.round === round && (one.side === PEER || one.side === CONTROL));
    return peers.reduce((sum, one) => sum + one.requestsPerSecond, 0) / peers.length;
  };
  const rows = sides.map(({ name }) => {
    const own = of(name);
    const column = (pick: (one: Measurement) => number, decimals: number): string =>
      spreadText(spreadOf(own.map(pick)), decimals);
    return [
      name,
      column((one) => one.requestsPerSecond, 0),
      column((one) => one.requestsPerSecond / reference(one.round), 2),
      column((one) => one.cpuUs, 1),
      column((one) => one.loadCpuUs, 1),
      column((one) => one.latencyMs.p50, 1),
      column((one) => one.latencyMs.p99, 1),
      column((one) => one.meanBatchRows, 1),
    ].join(" | ");
  });
  const head = "| side | requests/s | ÷ monolith | CPU µs/request | load's CPU µs | p50 ms | p99 ms | rows a run |";
  return [head, `|---|${"---:|".repeat(7)}`, ...rows.map((row) => `| ${row} |`)].join("\n");
}

/** Where Millrace's processor time goes, by process: medians. */
function toCpuLines(sides: readonly Side[], measurements: readonly Measurement[]): string {
  const lines = sides.map(({ name }) => {
    const own = measurements.filter((one) => one.side === name);
    const processes = Object.keys(own[0]?.cpuUsByProcess ?? {}).toSorted();
    const parts = processes.map((process) => {
      const { median } = spreadOf(own.map((one) => one.cpuUsByProcess[process] ?? 0));
      return `${process} ${median.toFixed(1)}`;
    });
    return `- ${name}: ${parts.join(", ")}`;
  });
  return ["CPU µs/request by process:", ...lines].join("\n");
}

async function main(): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const [file] = await writeBenchModels(folder.path, [smallMlp]);
  const modelPath = file?.path ?? "";
  const pool = { model: smallMlp.name, path: modelPath, rows: PREBUILT, seed: 5 };
  const wrk = values.load === "wrk" ? stack.use(await WrkLoad.prepare(folder.path, pool)) : undefined;
  const load = async (side: Side, ms: number): Promise<Load> => {
    if (wrk !== undefined) return loadByWrk(side, pool, { wrk, ms });
    const plan = { ...planOf(side, pool), connections, durationMs: ms, checkEvery: CHECK_EVERY };
    return toLoad(side, await runCheckedLoad(plan));
  };
  const sides: Side[] = [];
  const addMonolith = async (name: string): Promise<void> => {
    const started = stack.use(new StartedProcess({ argv: ["bench/peers/node-monolith.ts", modelPath] }));
    const { http = "" } = await started.ready;
    sides.push({ name, urls: [http], isMillrace: false, processes: () => started.tree() });
  };
  const addMillrace = async (gateways: number): Promise<void> => {
    const args = ["--threads", "1", "--log-level", "warn"];
    const system = stack.use(await DevSystem.start({ models: folder.path, gateways, args }));
    const name = `Millrace, ${gateways} gateway${gateways === 1 ? "" : "s"}, 1 worker`;
    sides.push({ name, urls: system.urls, isMillrace: true, processes: () => system.process.tree() });
  };
  await addMonolith(PEER);
  await addMillrace(1);
  await addMillrace(2);
  await addMonolith(CONTROL);

  const say = (text: string): void => void process.stderr.write(`${text}\n`);
  for (const side of sides) {
    const { answers, elapsedMs } = await load(side, WARM_UP_MS);
    say(`warm-up  ${side.name}: ${Math.round(answers / (elapsedMs / 1000))} requests/s`);
  }
  const measurements: Measurement[] = [];
  for (let round = 0; round < repetitions; round++) {
    for (let turn = 0; turn < sides.length; turn++) {
      const side = sides[(turn + round) % sides.length]!;
      const one = await measure(side, round, (one) => load(one, durationMs));
      measurements.push(one);
      const rate = Math.round(one.requestsPerSecond);
      say(`${round + 1}/${repetitions}  ${side.name}: ${rate} requests/s, ${one.cpuUs.toFixed(1)} µs CPU a request`);
    }
  }
  const environment = describeEnvironment();
  const date = new Date().toISOString();
  const results = join(ROOT, "bench", "results");
  await mkdir(results, { recursive: true });
  const path = join(results, `throughput-${date.slice(0, 19).replace(/[-:]/g, "").replace("T", "-")}.json`);
  const options = { repetitions, durationMs, connections, model: smallMlp, load: values.load };
  await writeFile(path, `${JSON.stringify({ date, environment, options, measurements }, undefined, 2)}\n`);
  const checked = measurements.reduce((sum, one) => sum + one.checked, 0);
  console.log(`${toTable(sides, measurements)}\n`);
  console.log(`Median (lowest–highest) of ${repetitions} rounds. ${checked} answers were checked, all right.\n`);
  console.log(`${toCpuLines(sides, measurements)}\n`);
  console.log(`raw: ${relative(ROOT, path)}`);
}

await main();

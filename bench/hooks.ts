/**
 * What an awaited look-up of 5 ms before the model, or after it, costs: its own time, and the model's throughput.
 *
 *     node bench/hooks.ts [--rounds 10] [--seconds 5] [--connections 512]
 *
 * One system runs the whole time, with the heavy model three times: without hooks, with a `preprocess` and with a `postprocess` that
 * awaits a timer of 5 ms, as it would a store elsewhere. Each round loads them in turn, in another order each time, the one without
 * hooks twice: the ratio of these two is what the machine does to numbers that should be equal. The loop is closed, so connections
 * have to keep more than a batch waiting beside the one that runs and the one that is staged, 128 rows each; with eight the 5 ms would simply
 * be added to each request. It is wrk's, as a generator that
 * checks every answer would take the core that gateway and broker need; one connection beside it checks each of its own, and another
 * reads the stages. Raw results go to bench/results.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { post } from "../tests/support/inference-client.ts";
import { ROOT } from "../tests/support/repository.ts";
import { readStages } from "../tests/support/server-timing-reader.ts";
import { DevSystem } from "../tests/support/system.ts";
import { temporaryFolder } from "../tests/support/temporary-folder.ts";
import { describeEnvironment } from "./environment.ts";
import { LoadDriver } from "./load-driver.ts";
import { heavyMlp, writeBenchModels } from "./models.ts";
import type { Side } from "./side.ts";
import { millrace } from "./sides.ts";
import { spreadOf, spreadText } from "./statistics.ts";
import { assertWrk } from "./wrk.ts";

const LOOKUP_MS = 5;
/** What the look-up's own time may be at the median, and what throughput must be at least as a share of that without. */
const LOOKUP_MS_MAX = 7;
const THROUGHPUT_MIN = 0.95;

const AWAIT = `await new Promise((go) => setTimeout(go, ${LOOKUP_MS}));`;
const HOOKS = {
  plain: "",
  pre: `export const preprocess = async ({ inputs }) => { ${AWAIT} return inputs; };`,
  post: `export const postprocess = async ({ outputs }) => { ${AWAIT} return outputs; };`,
} as const;
type ModelName = keyof typeof HOOKS;

/** The turns of a round: name → model. */
const TURNS = { without: "plain", preprocess: "pre", control: "plain", postprocess: "post" } as const;
type Turn = keyof typeof TURNS;

type Measurement = {
  readonly round: number;
  readonly turn: Turn;
  readonly perSecond: number;
  /** Medians of the connection beside the load, in ms. */
  readonly preprocessMs: number;
  readonly postprocessMs: number;
};

/** Requests that differ: what is right for each is computed before every turn, a row at a time. */
const PREBUILT = 64;
const WARM_UP_MS = 4_000;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "10" },
    seconds: { type: "string", default: "5" },
    connections: { type: "string", default: "512" },
  },
});
const rounds = Number(values.rounds);
const durationMs = Number(values.seconds) * 1000;
const connections = Number(values.connections);

const modelOf = (name: ModelName): string => `heavy-${name}`;

const ROW = millrace(1, 1);

/** Loads a model for a while and reads the stages beside it; throws unless every answer that is checked is 200 and right. */
async function load(side: Side, driver: LoadDriver, { name, ms }: { readonly name: ModelName; readonly ms: number }) {
  const beside = { isOver: false };
  const loading = driver.run(ROW, side, { ms, round: 0, onBegin: () => {} }).finally(() => (beside.isOver = true));
  const stages: ReturnType<typeof readStages>[] = [];
  const body = { inputs: [{ name: "input", datatype: "FP32", shape: [1, 512], data: Array(512).fill(0.5) }] };
  while (!beside.isOver) {
    const { status, headers } = await post(`${side.urls[0]}/v2/models/${modelOf(name)}/infer`, body);
    if (status !== 200) throw new Error(`${name}: ${status}`);
    stages.push(readStages(headers.get("server-timing") ?? ""));
  }
  const { answers, elapsedMs } = await loading;
  return {
    perSecond: answers / (elapsedMs / 1000),
    preprocessMs: spreadOf(stages.map(({ preprocess }) => preprocess)).median,
    postprocessMs: spreadOf(stages.map(({ postprocess }) => postprocess)).median,
  };
}

/** Throughput of a turn as a share of that without hooks, round by round. */
function shares(measurements: readonly Measurement[], turn: Turn): number[] {
  const of = (round: number, name: Turn): number =>
    measurements.find((one) => one.round === round && one.turn === name)!.perSecond;
  return Array.from({ length: rounds }, (_, round) => of(round, turn) / of(round, "without"));
}

function verdict(what: string, value: number, holds: boolean): string {
  return `${holds ? "holds" : "DOES NOT HOLD"}: ${what} is ${value.toFixed(3)}`;
}

await assertWrk();
await using stack = new AsyncDisposableStack();
const folder = stack.use(await temporaryFolder());
const repository = join(folder.path, "models");
const drivers: Partial<Record<ModelName, LoadDriver>> = {};
for (const [name, hooks] of Object.entries(HOOKS) as [ModelName, string][]) {
  const model = modelOf(name);
  const [{ path: file } = { path: "" }] = await writeBenchModels(repository, [{ ...heavyMlp, name: model }]);
  if (hooks !== "") await writeFile(join(repository, model, "hooks.ts"), hooks);
  const scripts = join(folder.path, name);
  await mkdir(scripts);
  const shape = { kind: "closed", connections } as const;
  const served = { name: model, file, repository };
  drivers[name] = await LoadDriver.prepare({ model: served, shape, rows: PREBUILT, folder: scripts });
}
const args = ["--threads", "1", "--log-level", "warn"];
const system = stack.use(await DevSystem.start({ models: repository, args }));
const side: Side = Object.assign(system, { processes: () => system.process.tree() });
for (const name of Object.keys(HOOKS) as ModelName[]) await load(side, drivers[name]!, { name, ms: WARM_UP_MS });

const turns = Object.keys(TURNS) as Turn[];
const measurements: Measurement[] = [];
for (let round = 0; round < rounds; round++) {
  for (let at = 0; at < turns.length; at++) {
    const turn = turns[(at + round) % turns.length]!;
    const name = TURNS[turn];
    const measured = await load(side, drivers[name]!, { name, ms: durationMs });
    measurements.push({ round, turn, ...measured });
    process.stderr.write(`${round + 1}/${rounds}  ${turn}: ${measured.perSecond.toFixed(0)} a second\n`);
  }
}

const date = new Date().toISOString();
const results = join(ROOT, "bench", "results");
await mkdir(results, { recursive: true });
const path = join(results, `hooks-${date.slice(0, 19).replace(/[-:]/g, "").replace("T", "-")}.json`);
const options = { rounds, durationMs, connections, model: heavyMlp, lookupMs: LOOKUP_MS };
await writeFile(path, `${JSON.stringify({ date, environment: describeEnvironment(), options, measurements })}\n`);

const of = (turn: Turn): Measurement[] => measurements.filter((one) => one.turn === turn);
console.log("| | requests/s | ÷ without hooks | preprocess ms | postprocess ms |\n|---|---:|---:|---:|---:|");
for (const turn of turns) {
  const cells = [
    spreadText(spreadOf(of(turn).map(({ perSecond }) => perSecond)), 0),
    spreadText(spreadOf(shares(measurements, turn)), 3),
    spreadText(spreadOf(of(turn).map(({ preprocessMs }) => preprocessMs)), 2),
    spreadText(spreadOf(of(turn).map(({ postprocessMs }) => postprocessMs)), 2),
  ];
  console.log(`| ${turn} | ${cells.join(" | ")} |`);
}
console.log(`\nMedian (lowest–highest) of ${rounds} rounds.\n`);
const ownMs = { preprocess: "preprocessMs", postprocess: "postprocessMs" } as const;
for (const turn of ["preprocess", "postprocess"] as const) {
  const ms = spreadOf(of(turn).map((one) => one[ownMs[turn]])).median;
  const share = spreadOf(shares(measurements, turn)).median;
  console.log(verdict(`the look-up's own time in ${turn}, in ms`, ms, ms >= LOOKUP_MS && ms <= LOOKUP_MS_MAX));
  console.log(verdict(`throughput with ${turn} ÷ without`, share, share >= THROUGHPUT_MIN));
}
console.log(`\nraw: ${relative(ROOT, path)}`);

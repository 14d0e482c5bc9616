/**
 * What recording metrics and stage times costs: processor time a request, with and without it.
 *
 *     node bench/metrics-cost.ts [--rounds 20] [--seconds 1] [--connections 64]
 *
 * Three systems run the whole time and are loaded in turn, in another order each round: one records, one does not
 * (`--metrics false`), and one records as the first does; the ratio of these two is what the machine does to numbers that should be
 * equal. Only ratios inside a round count. On a busy machine they are worth little, so what the recorders' own calls take is
 * measured too, alone. Raw results go to bench/results.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { runCheckedLoad } from "../tests/support/load.ts";
import { cpuMsOf } from "../tests/support/process-tree.ts";
import { ROOT } from "../tests/support/repository.ts";
import { DevSystem } from "../tests/support/system.ts";
import { temporaryFolder } from "../tests/support/temporary-folder.ts";
import { describeEnvironment } from "./environment.ts";
import { smallMlp, writeBenchModels } from "./models.ts";
import { measureRecorders } from "./recorder-cost.ts";
import { spreadOf, spreadText } from "./statistics.ts";

const SIDES = ["recorded", "unrecorded", "control"] as const;
type SideName = (typeof SIDES)[number];

/** Processor time of one side in one round, in µs a request. */
type Measurement = {
  readonly round: number;
  readonly side: SideName;
  readonly requests: number;
  readonly cpuUs: number;
  readonly cpuUsByProcess: Readonly<Record<string, number>>;
};

const ROLES = ["gateway-1", "broker-1", "worker-1"];
const PREBUILT = 1024;
const WARM_UP_MS = 4_000;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "20" },
    seconds: { type: "string", default: "1" },
    connections: { type: "string", default: "64" },
  },
});
const rounds = Number(values.rounds);
const durationMs = Number(values.seconds) * 1000;
const connections = Number(values.connections);

/** Loads a system for a while; throws unless every answer is 200, and right where it was checked. Returns the answers. */
async function load(system: DevSystem, modelPath: string, ms: number): Promise<number> {
  const { identity, faults, firstFaults, answers } = await runCheckedLoad({
    urls: system.urls,
    connections,
    requests: Number.MAX_SAFE_INTEGER,
    durationMs: ms,
    pools: [{ model: smallMlp.name, path: modelPath, rows: PREBUILT, seed: 5 }],
    seed: 6,
    rowsMax: 1,
    prebuilt: PREBUILT,
    checkEvery: 50,
    isTimed: true,
  });
  if (identity.mismatches > 0 || faults > 0 || Object.keys(identity.statuses).join() !== "200") {
    throw new Error(JSON.stringify({ ...identity, faults, firstFaults }));
  }
  return answers;
}

/** The ratios of two sides, round by round, of what `pick` takes. */
function ratios(
  measurements: readonly Measurement[],
  [a, b]: readonly [SideName, SideName],
  pick: (one: Measurement) => number,
): number[] {
  const at = (round: number, side: SideName): number =>
    pick(measurements.find((one) => one.round === round && one.side === side)!);
  return Array.from({ length: rounds }, (_, round) => at(round, a) / at(round, b));
}

function toTable(measurements: readonly Measurement[]): string {
  const picks: [string, (one: Measurement) => number][] = [
    ["all processes", ({ cpuUs }) => cpuUs],
    ...ROLES.map((role): [string, (one: Measurement) => number] => [role, (one) => one.cpuUsByProcess[role] ?? 0]),
  ];
  const rows = picks.map(([name, pick]) => {
    const unrecorded = measurements.filter(({ side }) => side === "unrecorded").map(pick);
    const pairs = [
      ...ratios(measurements, ["recorded", "unrecorded"], pick),
      ...ratios(measurements, ["control", "unrecorded"], pick),
    ];
    const control = ratios(measurements, ["recorded", "control"], pick);
    return `| ${name} | ${spreadText(spreadOf(unrecorded), 1)} | ${spreadText(spreadOf(pairs), 3)} | ${spreadText(spreadOf(control), 3)} |`;
  });
  return [
    "| | CPU µs/request, unrecorded | recorded ÷ unrecorded | recorded ÷ recorded |",
    "|---|---:|---:|---:|",
    ...rows,
  ].join("\n");
}

async function main(): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const [file] = await writeBenchModels(folder.path, [smallMlp]);
  const modelPath = file?.path ?? "";
  const systems = new Map<SideName, DevSystem>();
  for (const side of SIDES) {
    const args = ["--threads", "1", "--log-level", "warn", "--metrics", String(side !== "unrecorded")];
    systems.set(side, stack.use(await DevSystem.start({ models: folder.path, args })));
  }
  for (const system of systems.values()) await load(system, modelPath, WARM_UP_MS);

  const measurements: Measurement[] = [];
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < SIDES.length; turn++) {
      const side = SIDES[(turn + round) % SIDES.length]!;
      const system = systems.get(side)!;
      const processes = system.process.tree();
      const before = processes.map(({ pid }) => cpuMsOf(pid));
      const requests = await load(system, modelPath, durationMs);
      const cpuUs = processes.map(({ pid }, i) => ((cpuMsOf(pid) - before[i]!) * 1000) / requests);
      measurements.push({
        round,
        side,
        requests,
        cpuUs: cpuUs.reduce((sum, one) => sum + one, 0),
        cpuUsByProcess: Object.fromEntries(processes.map(({ name }, i) => [name || "main", cpuUs[i]!])),
      });
      process.stderr.write(
        `${round + 1}/${rounds}  ${side}: ${measurements.at(-1)!.cpuUs.toFixed(1)} µs CPU a request\n`,
      );
    }
  }
  const recordersNs = measureRecorders();
  const date = new Date().toISOString();
  const results = join(ROOT, "bench", "results");
  await mkdir(results, { recursive: true });
  const path = join(results, `metrics-cost-${date.slice(0, 19).replace(/[-:]/g, "").replace("T", "-")}.json`);
  const options = { rounds, durationMs, connections, model: smallMlp };
  const record = { date, environment: describeEnvironment(), options, recordersNs, measurements };
  await writeFile(path, `${JSON.stringify(record, undefined, 2)}\n`);
  const alone = ROLES.map((role) => `${role} ${(recordersNs[role] ?? 0).toFixed(0)}`).join(", ");
  console.log(`${toTable(measurements)}\n\nMedian (lowest–highest) of ${rounds} rounds.\n`);
  console.log(`The recorders' own calls, alone, in ns a request: ${alone}.\n`);
  console.log(`raw: ${relative(ROOT, path)}`);
}

await main();

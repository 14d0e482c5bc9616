/**
 * What hostile clients cost the good ones: their 99th percentile while others trickle or post large bodies, beside the same
 * without.
 *
 *     node bench/edge.ts [--rounds 10] [--seconds 5] [--rate 500] [--clients 1000]
 *
 * One system runs the whole time. Each round has four turns, in another order each time: `alone`, `control` (the same again: the
 * ratio of these two is what the machine does to numbers that should be equal), `slow` (1,000 clients send a byte a second) and
 * `large` (one posts 16 MiB of hostile JSON in a loop). Good clients are an open loop with Poisson arrivals, and every answer is
 * checked. Only ratios inside a round count. Raw results go to bench/results.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { largeBodies, LargePoster, TricklingClients } from "../tests/support/hostile-client.ts";
import { runCheckedLoad } from "../tests/support/load.ts";
import { ROOT } from "../tests/support/repository.ts";
import { DevSystem } from "../tests/support/system.ts";
import { temporaryFolder } from "../tests/support/temporary-folder.ts";
import { describeEnvironment } from "./environment.ts";
import { smallMlp, writeBenchModels } from "./models.ts";
import { spreadOf, spreadText } from "./statistics.ts";

const TURNS = ["alone", "slow", "control", "large"] as const;
type Turn = (typeof TURNS)[number];

type Measurement = {
  readonly round: number;
  readonly turn: Turn;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly lagP99Ms: number;
  /** What the hostile clients were told, by status. */
  readonly hostile: Readonly<Record<string, number>>;
};

/** The p99 of the good clients, as a share of what it is without the hostile ones. */
const RATIO_MAX = 1.2;
const DEADLINE_MS = 1_000;
const PREBUILT = 1024;
const WARM_UP_MS = 3_000;
const PATH = `/v2/models/${smallMlp.name}/infer`;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "10" },
    seconds: { type: "string", default: "5" },
    rate: { type: "string", default: "500" },
    clients: { type: "string", default: "1000" },
  },
});
const rounds = Number(values.rounds);
const durationMs = Number(values.seconds) * 1000;
const ratePerSecond = Number(values.rate);
const clients = Number(values.clients);

/** The good clients, for a while; throws unless every answer is 200 and right. */
async function load(url: string, modelPath: string, plan: { durationMs: number; seed: number }) {
  const report = await runCheckedLoad({
    urls: [url],
    connections: 64,
    requests: Number.MAX_SAFE_INTEGER,
    open: { arrivals: { kind: "poisson", ratePerSecond, ...plan }, deadlineMs: DEADLINE_MS },
    pools: [{ model: smallMlp.name, path: modelPath, rows: PREBUILT, seed: 5 }],
    seed: 6,
    rowsMax: 1,
    prebuilt: PREBUILT,
  });
  const { identity, faults, firstFaults, openLoop } = report;
  if (
    openLoop === undefined ||
    identity.mismatches > 0 ||
    faults > 0 ||
    Object.keys(identity.statuses).join() !== "200"
  ) {
    throw new Error(JSON.stringify({ ...identity, faults, firstFaults }));
  }
  return openLoop;
}

/** Lets the hostile clients of a turn come, and counts what they are told; they go when the scope is left. */
async function startHostile(
  turn: Turn,
  url: string,
  stack: AsyncDisposableStack,
): Promise<ReadonlyMap<string, number>> {
  if (turn === "slow") {
    const slow = stack.use(new TricklingClients(url, PATH, 1_000));
    await slow.start(clients);
    return slow.statuses;
  }
  return turn === "large" ? stack.use(new LargePoster(url, PATH, largeBodies())).statuses : new Map();
}

function ratios(measurements: readonly Measurement[], turn: Turn, pick: "p50Ms" | "p99Ms"): number[] {
  const of = (round: number, name: Turn): number =>
    measurements.find((one) => one.round === round && one.turn === name)![pick];
  return Array.from({ length: rounds }, (_, round) => of(round, turn) / of(round, "alone"));
}

function toTable(measurements: readonly Measurement[]): string {
  const rows = TURNS.map((turn) => {
    const here = measurements.filter((one) => one.turn === turn);
    const spread = (pick: "p50Ms" | "p99Ms"): string => spreadText(spreadOf(here.map((one) => one[pick])), 2);
    const ratio = turn === "alone" ? "" : spreadText(spreadOf(ratios(measurements, turn, "p99Ms")), 2);
    return `| ${turn} | ${spread("p50Ms")} | ${spread("p99Ms")} | ${ratio} |`;
  });
  return ["| | p50, ms | p99, ms | p99 ÷ alone |", "|---|---:|---:|---:|", ...rows].join("\n");
}

async function main(): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await temporaryFolder());
  const [file] = await writeBenchModels(folder.path, [smallMlp]);
  const modelPath = file?.path ?? "";
  const system = stack.use(
    await DevSystem.start({ models: folder.path, args: ["--threads", "1", "--log-level", "warn"] }),
  );
  await load(system.url, modelPath, { durationMs: WARM_UP_MS, seed: 1 });
  const measurements: Measurement[] = [];
  for (let round = 0; round < rounds; round++) {
    for (let at = 0; at < TURNS.length; at++) {
      const turn = TURNS[(at + round) % TURNS.length]!;
      await using hostileStack = new AsyncDisposableStack();
      const told = await startHostile(turn, system.url, hostileStack);
      // The same arrivals for all turns of a round.
      const { okLatencyMs, lagMs } = await load(system.url, modelPath, { durationMs, seed: 10 + round });
      const hostile = Object.fromEntries(told);
      measurements.push({ round, turn, p50Ms: okLatencyMs.p50, p99Ms: okLatencyMs.p99, lagP99Ms: lagMs.p99, hostile });
      process.stderr.write(
        `${round + 1}/${rounds}  ${turn}: p99 ${okLatencyMs.p99.toFixed(2)} ms ${JSON.stringify(hostile)}\n`,
      );
    }
  }
  const date = new Date().toISOString();
  const results = join(ROOT, "bench", "results");
  await mkdir(results, { recursive: true });
  const path = join(results, `edge-${date.slice(0, 19).replace(/[-:]/g, "").replace("T", "-")}.json`);
  const options = { rounds, durationMs, ratePerSecond, clients, model: smallMlp };
  await writeFile(
    path,
    `${JSON.stringify({ date, environment: describeEnvironment(), options, measurements }, undefined, 2)}\n`,
  );
  console.log(
    `${toTable(measurements)}\n\nMedian (lowest–highest) of ${rounds} rounds; Poisson, ${ratePerSecond} requests a second.\n`,
  );
  for (const turn of ["slow", "large"] as const) {
    // Beside what the machine does to equal numbers.
    const ratio =
      spreadOf(ratios(measurements, turn, "p99Ms")).median / spreadOf(ratios(measurements, "control", "p99Ms")).median;
    console.log(
      `${turn}: p99 is ${ratio.toFixed(2)} × the control's, at most ${RATIO_MAX} is meant: ${ratio <= RATIO_MAX ? "met" : "MISSED"}`,
    );
  }
  console.log(`raw: ${relative(ROOT, path)}`);
}

await main();

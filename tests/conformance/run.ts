/**
 * `make conformance`: clients and tools that others have written, unmodified, against a live `millrace dev`, with one gateway and
 * with three behind a balancer. A line for each call and its result; the last line is `N passed, N failed`.
 * Last, `millrace check` against a server that is not ours.
 * Usage: `node tests/conformance/run.ts [tritonclient] [perf-analyzer] [schemathesis] [mlserver]`; all of them if none is named.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { NODE } from "../support/repository.ts";
import { DevSystem } from "../support/system.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { writeConformanceModels } from "./conformance-models.ts";
import { checkForeignServer } from "./foreign-server.ts";
import { runPerfAnalyzer } from "./perf-analyzer.ts";
import { pythonEnvironment } from "./python-environment.ts";
import { roundRobin } from "./round-robin.ts";
import { sumOf, type Tally, tallyOf } from "./tally.ts";

const here = (name: string): string => join(import.meta.dirname, name);

/** What is held against a URL; `at` says in words what is there. */
const SUITES: Readonly<Record<string, (url: string, at: string) => Promise<Tally>>> = {
  tritonclient: async (url, at) => {
    const python = join(await pythonEnvironment("tritonclient"), "bin", "python");
    const tallies: Tally[] = [];
    for (const kind of ["sync", "aio"]) {
      console.log(`\n== tritonclient ${kind}, ${at}`);
      tallies.push(await tallyOf(python, [here("tritonclient_suite.py"), url, kind]));
    }
    return sumOf(tallies);
  },
  "perf-analyzer": (url, at) => {
    console.log(`\n== perf_analyzer, ${at}`);
    return runPerfAnalyzer(url, at);
  },
};

/** All models are loaded, with the check of their rows, before it is ready. */
const READY_TIMEOUT_MS = 120_000;

async function runBehind(gateways: number, suites: readonly string[]): Promise<Tally> {
  await using folder = await temporaryFolder();
  await writeConformanceModels(folder.path);
  await using system = await DevSystem.start({ models: folder.path, gateways, readyTimeoutMs: READY_TIMEOUT_MS });
  await using balancer = await roundRobin(system.urls);
  const at = gateways === 1 ? "one gateway" : `${gateways} gateways`;
  const tallies: Tally[] = [];
  for (const name of suites) {
    const suite = SUITES[name];
    if (suite !== undefined) tallies.push(await suite(gateways === 1 ? system.url : balancer.url, at));
  }
  if (gateways > 1) {
    const each = balancer.counts.every((count) => count > 0);
    console.log(`${each ? "ok    " : "FAILED"}  every gateway has had requests → ${balancer.counts.join(", ")}`);
    tallies.push(each ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 });
  }
  await system.stop();
  return sumOf(tallies);
}

const ALL = [...Object.keys(SUITES), "schemathesis", "mlserver"];
const { positionals } = parseArgs({ allowPositionals: true });
const unknown = positionals.filter((name) => !ALL.includes(name));
if (unknown.length > 0) throw new Error(`no suite ${unknown.join(", ")}; there are ${ALL.join(", ")}`);
const chosen = positionals.length === 0 ? ALL : positionals;
const onGateways = chosen.filter((name) => name in SUITES);
const tallies: Tally[] = [];
if (onGateways.length > 0) for (const gateways of [1, 3]) tallies.push(await runBehind(gateways, onGateways));
if (chosen.includes("schemathesis")) tallies.push(await tallyOf(NODE, [here("schemathesis.ts")]));
if (chosen.includes("mlserver")) {
  console.log("\n== millrace check, of MLServer");
  tallies.push(await checkForeignServer());
}
const { passed, failed } = sumOf(tallies);
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

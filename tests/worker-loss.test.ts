import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFailed, test } from "vitest";
import { assertAllRight, describeLoad, startLoad } from "./support/load.ts";
import { FATAL_VALUE, fatalModel, mixedModel, perceptronModel, writeModels } from "./support/load-models.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";
import { byShare } from "./support/test-share.ts";

const CONNECTIONS = 64;
const KILLS = byShare(3, 20);
/** At least this long between two kills. */
const SPACING_MS = 1_000;

test(
  `kill -9 of a worker ${KILLS} times under load: every answer is 200 and right, and the worker is back`,
  { timeout: 60_000 + KILLS * 10_000 },
  async () => {
    await using folder = await temporaryFolder();
    const models = [perceptronModel(), mixedModel()];
    const paths = await writeModels(folder.path, models);
    await using system = await DevSystem.start({ models: folder.path, workers: 2, args: ["--threads", "1"] });
    onTestFailed(() => console.error(system.process.log.tail(200)));
    const pools = models.map(({ name }, i) => ({ model: name, path: paths[i]!, rows: 500, seed: 21 + i }));
    const plan = { urls: system.urls, connections: CONNECTIONS, requests: Number.MAX_SAFE_INTEGER, pools, seed: 43 };
    await using load = await startLoad(plan);
    let { answers } = await load.progressed((progress) => progress.answers > 1_000);
    const pids = new Set<number>();
    for (let kill = 0; kill < KILLS; kill++) {
      const spacing = sleep(SPACING_MS);
      const { pid, back } = system.kill(`worker-${1 + (kill % 2)}`);
      expect(pids.has(pid)).toBe(false);
      pids.add(pid);
      await back;
      await system.awaitWorkers(2);
      await spacing;
      // The load goes on: answers keep coming after each kill.
      ({ answers } = await load.progressed((progress) => progress.answers > answers));
    }
    const report = await load.stop();
    console.log(`${KILLS} kills; ${describeLoad(report)}`);
    assertAllRight(report);
    expect(Object.keys(report.identity.workers).toSorted()).toEqual(["worker-1", "worker-2"]);
    // Otherwise no kill has hit a run, and the test has shown nothing.
    expect(report.identity.retried).toBeGreaterThan(0);
    await system.stop();
  },
);

test.skipIf(process.arch !== "x64")(
  "a request that kills its worker costs two workers at most, and the requests that ran beside it nothing",
  { timeout: 90_000 },
  async () => {
    await using folder = await temporaryFolder();
    const [path = ""] = await writeModels(folder.path, [fatalModel()]);
    // Three, so that one is always there: without a worker requests are refused at once. Requests gather in the queue for a
    // while, so that the one that kills has company.
    const args = ["--threads", "1", "--test-delay", "broker_queue:20"];
    await using system = await DevSystem.start({ models: folder.path, workers: 3, args });
    onTestFailed(() => console.error(system.process.log.tail(200)));
    await using load = await startLoad({
      urls: system.urls,
      connections: CONNECTIONS,
      requests: Number.MAX_SAFE_INTEGER,
      pools: [{ model: "fatal", path, rows: 500, seed: 3, integers: [100, 1000] }],
      seed: 45,
    });
    const { answers } = await load.progressed((progress) => progress.answers > 1_000);
    const inputs = [{ name: "x", datatype: "INT32", shape: [1, 4], data: [100, 200, FATAL_VALUE, 300] }];
    const response = await fetch(`${system.url}/v2/models/fatal/infer`, {
      method: "POST",
      // More urgent than the others, so that it leads a full batch.
      headers: { "content-type": "application/json", connection: "close", "x-request-timeout-ms": "4500" },
      body: JSON.stringify({ inputs }),
    });
    const poisoned = { status: response.status, body: await response.json() };
    await load.progressed((progress) => progress.answers > answers + 2_000);
    const report = await load.stop();
    console.log(describeLoad(report));
    expect(poisoned).toMatchObject({ status: 500, body: { code: "poison" } });
    assertAllRight(report);
    expect(report.identity.retried).toBeGreaterThan(0);
    const isDeath = /millrace +\| worker-\d was ended by SIGFPE/;
    expect(system.process.log.count(isDeath)).toBe(2);
    await system.stop();
  },
);

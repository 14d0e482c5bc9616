import { expect, onTestFailed, test } from "vitest";
import { assertAllRight, describeLoad, startLoad } from "./support/load.ts";
import { mixedModel, perceptronModel, writeModels } from "./support/load-models.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

const CONNECTIONS = 64;
const ROUNDS = 2;

// A loaded process that is told to end hands back what has not started and finishes what has: nobody sees an error.
test.each(["worker-1", "broker-1"])(
  `SIGTERM of %s under load, ${ROUNDS} times: every answer is 200 and right, and it ends with code 0`,
  { timeout: 90_000 },
  async (name) => {
    await using folder = await temporaryFolder();
    const models = [perceptronModel(), mixedModel()];
    const paths = await writeModels(folder.path, models);
    await using system = await DevSystem.start({ models: folder.path, workers: 2, args: ["--threads", "1"] });
    onTestFailed(() => console.error(system.process.log.tail(200)));
    const pools = models.map((model, i) => ({ model: model.name, path: paths[i]!, rows: 500, seed: 51 + i }));
    const plan = { urls: system.urls, connections: CONNECTIONS, requests: Number.MAX_SAFE_INTEGER, pools, seed: 46 };
    await using load = await startLoad(plan);
    let { answers } = await load.progressed((progress) => progress.answers > 1_000);
    for (let round = 0; round < ROUNDS; round++) {
      const { back } = system.kill(name, "SIGTERM");
      await back;
      await system.awaitWorkers(2);
      ({ answers } = await load.progressed((progress) => progress.answers > answers + 500));
    }
    const report = await load.stop();
    console.log(`${name}, ${ROUNDS} times; ${describeLoad(report)}`);
    assertAllRight(report);
    expect(system.process.log.count(new RegExp(`${name} ended with exit code 0`))).toBe(ROUNDS);
    await system.stop();
  },
);

import { setTimeout as sleep } from "node:timers/promises";
import { onTestFailed, test } from "vitest";
import { assertAllRight, describeLoad, startLoad } from "./support/load.ts";
import { mixedModel, perceptronModel, writeModels } from "./support/load-models.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";
import { byShare } from "./support/test-share.ts";

const CONNECTIONS = 64;
const KILLS = byShare(2, 10);

test(
  `kill -9 of the broker ${KILLS} times under load: every request that was accepted is answered, once, 200 and right`,
  { timeout: 60_000 + KILLS * 15_000 },
  async () => {
    await using folder = await temporaryFolder();
    const models = [perceptronModel(), mixedModel()];
    const paths = await writeModels(folder.path, models);
    await using system = await DevSystem.start({ models: folder.path, gateways: 2, args: ["--threads", "1"] });
    onTestFailed(() => console.error(system.process.log.tail(200)));
    const pools = models.map(({ name }, i) => ({ model: name, path: paths[i]!, rows: 500, seed: 31 + i }));
    const plan = { urls: system.urls, connections: CONNECTIONS, requests: Number.MAX_SAFE_INTEGER, pools, seed: 44 };
    await using load = await startLoad(plan);
    let { answers } = await load.progressed((progress) => progress.answers > 1_000);
    for (let kill = 0; kill < KILLS; kill++) {
      const { back } = system.kill("broker-1");
      await back;
      ({ answers } = await load.progressed((progress) => progress.answers > answers + 1_000));
      // A life of two seconds is no crash loop: the next restart does not wait longer than this one.
      await sleep(2_000);
    }
    const report = await load.stop();
    console.log(`${KILLS} kills; ${describeLoad(report)}`);
    assertAllRight(report);
    await system.stop();
  },
);

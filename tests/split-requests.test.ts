import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFailed, test } from "vitest";
import { assertAllRight, describeLoad, startLoad } from "./support/load.ts";
import {
  maskedManifest,
  maskedModel,
  MASKED_WORDS,
  mixedModel,
  perceptronModel,
  writeModels,
} from "./support/load-models.ts";
import type { RowPoolOptions } from "./support/row-pool.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";
import { byShare } from "./support/test-share.ts";

const CONNECTIONS = 24;
const KILLS = byShare(3, 15);
const RUN_ROWS_MAX = 8;
const TOKENS: Readonly<Record<string, Partial<RowPoolOptions>>> = {
  masked: { integers: [0, MASKED_WORDS - 1], omit: "mask", lengths: [2, 3, 5, 7, 8] },
};
/** At least this long between two kills: a life of two seconds is no crash loop. */
const SPACING_MS = 2_000;

test(
  `kill -9 of workers and the broker ${KILLS} times while requests run in parts: every row is answered as if it were alone`,
  { timeout: 60_000 + KILLS * 15_000 },
  async () => {
    await using folder = await temporaryFolder();
    const models = [perceptronModel(), mixedModel(), maskedModel()];
    const paths = await writeModels(folder.path, models);
    const limit = `max_batch_size: ${RUN_ROWS_MAX}\n`;
    const manifests = [limit, limit, maskedManifest({ sizes: [4, 8], maxBatchSize: RUN_ROWS_MAX })];
    for (const [i, { name }] of models.entries()) await writeFile(join(folder.path, name, "model.yaml"), manifests[i]!);
    await using system = await DevSystem.start({ models: folder.path, workers: 2, args: ["--threads", "1"] });
    onTestFailed(() => console.error(system.process.log.tail(200)));
    const pools = models.map(({ name }, i) => ({
      model: name,
      path: paths[i]!,
      rows: 500,
      seed: 51 + i,
      ...TOKENS[name],
    }));
    await using load = await startLoad({
      urls: system.urls,
      connections: CONNECTIONS,
      requests: Number.MAX_SAFE_INTEGER,
      pools,
      seed: 52,
      rowsMax: 5 * RUN_ROWS_MAX,
      runRowsMax: RUN_ROWS_MAX,
    });
    let { answers } = await load.progressed((progress) => progress.answers > 500);
    for (let kill = 0; kill < KILLS; kill++) {
      const spacing = sleep(SPACING_MS);
      const { back } = system.kill(kill % 3 === 1 ? "broker-1" : `worker-${1 + (kill % 2)}`);
      await back;
      await system.awaitWorkers(2);
      // The load goes on: answers keep coming after each kill.
      ({ answers } = await load.progressed((progress) => progress.answers > answers + 100));
      await spacing;
    }
    const report = await load.stop();
    console.log(`${KILLS} kills; ${describeLoad(report)}; ${report.identity.split} in parts`);
    assertAllRight(report);
    // Otherwise no kill has hit a run, and the test has shown nothing.
    expect(report.identity.retried).toBeGreaterThan(0);
    expect(report.identity.split).toBeGreaterThan(report.identity.requests / 2);
    await system.stop();
  },
);

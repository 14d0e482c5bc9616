import { expect, onTestFailed, test } from "vitest";
import { assertAllRight, describeLoad, runCheckedLoad } from "./support/load.ts";
import { mixedModel, perceptronModel, writeModels } from "./support/load-models.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";
import { byShare } from "./support/test-share.ts";

const CONNECTIONS = 64;
const REQUESTS = byShare(10_000, 100_000);

test(
  `${REQUESTS} requests of 1 to 8 rows over ${CONNECTIONS} connections: every row is answered as if it were alone`,
  { timeout: byShare(120_000, 900_000) },
  async () => {
    await using folder = await temporaryFolder();
    const models = [perceptronModel(), mixedModel()];
    const paths = await writeModels(folder.path, models);
    await using system = await DevSystem.start({ models: folder.path, args: ["--threads", "1"] });
    onTestFailed(() => console.error(system.process.log.tail()));
    const pools = models.map(({ name }, i) => ({ model: name, path: paths[i]!, rows: 2_000, seed: 11 + i }));
    const report = await runCheckedLoad({
      urls: system.urls,
      connections: CONNECTIONS,
      requests: REQUESTS,
      pools,
      seed: 42,
    });
    assertAllRight(report);
    const { identity } = report;
    console.log(describeLoad(report));
    expect(identity.requests).toBe(REQUESTS);
    expect(identity.rows).toBeGreaterThan(4 * REQUESTS);
    expect(identity.retried).toBe(0);
    // Means over runs (see BatchReport). A request alone brings 4.5 rows, so only more than two requests' worth shows batching.
    expect(identity.batches["perceptron"]?.meanRows).toBeGreaterThan(9);
    expect(identity.batches["perceptron"]?.meanRequests).toBeGreaterThanOrEqual(2);
    // Only requests of one length can share a run here, so fewer do, but still more than one on the average.
    expect(identity.batches["mixed"]?.meanRequests).toBeGreaterThan(1.5);
    for (const { name } of models) {
      // No run told two sizes, and no request of a run is missing.
      for (const runs of Object.values(identity.batches[name]?.histogram ?? {})) expect(runs % 1, name).toBe(0);
    }
    await system.stop();
  },
);

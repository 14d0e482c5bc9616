import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFailed, test } from "vitest";
import { until } from "./support/bounded.ts";
import { get } from "./support/inference-client.ts";
import { assertAllRight, describeLoad, startLoad } from "./support/load.ts";
import { mixedModel, perceptronModel, writeModels } from "./support/load-models.ts";
import { postBytes, RawConnection } from "./support/raw-connection.ts";
import { ROOT } from "./support/repository.ts";
import { DevSystem, startBroker, startGateway, startWorker } from "./support/system.ts";
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

// Balancers notice late, and kept connections hear of a drain with an answer: so a gateway can go on for a while.
test("a gateway with a drain delay serves on, closes each connection with its answer, and then refuses", async () => {
  await using broker = await startBroker();
  const models = join(ROOT, "models");
  await using worker = await startWorker({ broker: broker.addresses["workers"] ?? "", models });
  const env = { MILLRACE_DRAIN_DELAY_MS: "1500" };
  await using gateway = await startGateway({ broker: broker.addresses["gateways"] ?? "", env });
  for (const { log } of [broker, worker, gateway]) onTestFailed(() => console.error(log.tail()));
  const { http = "", admin = "" } = gateway.addresses;
  await until(10_000, "a ready gateway", async () => (await get(`${admin}/readyz`)).status === 200);
  const request = postBytes("/v2/models/digits/infer", await readFile(join(ROOT, "examples/digits/7.json"), "utf8"));
  using kept = new RawConnection(http);
  using rested = new RawConnection(http);
  for (const connection of [kept, rested]) {
    await connection.write(request);
    const { status, headers } = await connection.answer();
    expect([status, headers["connection"]]).toEqual([200, "keep-alive"]);
  }

  gateway.signal("SIGTERM");
  await until(1_000, "an unready gateway", async () => (await get(`${admin}/readyz`)).status === 503);
  using late = new RawConnection(http);
  for (const connection of [kept, late]) {
    await connection.write(request);
    const { status, headers } = await connection.answer();
    expect([status, headers["connection"]]).toEqual([200, "close"]);
    expect(await connection.ended).toEqual({ isReset: false });
  }
  expect(await rested.ended).toEqual({ isReset: false });
  expect(await gateway.awaitExit()).toEqual({ code: 0, signal: null });
});

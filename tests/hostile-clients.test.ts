import { afterAll, beforeAll, expect, onTestFailed, test } from "vitest";
import { until } from "./support/bounded.ts";
import { largeBodies, LargePoster, TricklingClients } from "./support/hostile-client.ts";
import { post } from "./support/inference-client.ts";
import { assertAllRight, describeLoad, startLoad } from "./support/load.ts";
import { perceptronModel, writeModels } from "./support/load-models.ts";
import { readMetrics, sumOf } from "./support/metrics-text.ts";
import { RawConnection } from "./support/raw-connection.ts";
import { simulatedRequest, writeSimulatedModel } from "./support/simulated-model.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";
import { byShare } from "./support/test-share.ts";

const TRICKLING = byShare(300, 1_000);
const LARGE_BODIES = byShare(6, 60);
const LEAVING = 1_000;
const BODY_GRACE_MS = 2_000;
/** Long enough that nearly all that is sent in the meantime waits in the queue. */
const SLOW_RUN_MS = 2_000;
const BATCH_ROWS_MAX = 128;

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let system: DevSystem;
let modelPath = "";

beforeAll(async () => {
  folder = await temporaryFolder();
  [modelPath = ""] = await writeModels(folder.path, [perceptronModel()]);
  await writeSimulatedModel(folder.path, { name: "slow", runMs: SLOW_RUN_MS });
  const args = ["--threads", "1", "--body-grace-ms", String(BODY_GRACE_MS)];
  system = await DevSystem.start({ models: folder.path, args });
});

afterAll(async () => {
  await system?.stop();
  await system?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

/** What a role counts at its admin address, over all models. */
async function metric(role: string, name: string): Promise<number> {
  return sumOf(await readMetrics(system.addresses[role]?.["admin"] ?? ""), name);
}

/** Waits until nobody holds anything of anybody. */
async function awaitRest(): Promise<void> {
  const gauges = [
    ["gateway-1", "millrace_gateway_inflight_requests"],
    ["gateway-1", "millrace_gateway_inflight_bytes"],
    ["broker-1", "millrace_broker_inflight_requests"],
    ["broker-1", "millrace_broker_queue_rows"],
  ] as const;
  for (const [role, name] of gauges) await until(20_000, `${name} 0`, async () => (await metric(role, name)) === 0);
}

function startGoodClients() {
  const pools = [{ model: "perceptron", path: modelPath, rows: 500, seed: 5 }];
  return startLoad({ urls: system.urls, connections: 8, requests: Number.MAX_SAFE_INTEGER, pools, seed: 6 });
}

test(
  `${TRICKLING} clients that send a byte a second are told 408, and good ones are answered as ever`,
  { timeout: 120_000 },
  async () => {
    onTestFailed(() => console.error(system.process.log.tail()));
    await using load = await startGoodClients();
    const told = (statuses: ReadonlyMap<string, number>): number => statuses.get("408") ?? 0;
    await using slow = new TricklingClients(system.url, "/v2/models/perceptron/infer", 1_000);
    await slow.start(TRICKLING);
    const { answers } = await load.progressed((progress) => progress.answers > 100);
    await until(60_000, "408 for all", () => told(slow.statuses) >= TRICKLING);
    await load.progressed((progress) => progress.answers > answers + 100);
    await slow[Symbol.asyncDispose]();
    const report = await load.stop();
    console.log(`${JSON.stringify([...slow.statuses])}; ${describeLoad(report)}`);
    // Nobody was sent away for anything else, or without a word.
    expect([...slow.statuses.keys()]).toEqual(["408"]);
    assertAllRight(report);
    await awaitRest();
  },
);

test(
  `${LARGE_BODIES} hostile bodies of 16 MiB, one behind the other, are refused, and good clients are answered as ever`,
  { timeout: byShare(180_000, 600_000) },
  async () => {
    onTestFailed(() => console.error(system.process.log.tail()));
    await using load = await startGoodClients();
    await using poster = new LargePoster(system.url, "/v2/models/perceptron/infer", largeBodies());
    const { answers } = await load.progressed((progress) => progress.answers > 100);
    await until(byShare(120_000, 500_000), "all refused", () => (poster.statuses.get("400") ?? 0) >= LARGE_BODIES);
    await load.progressed((progress) => progress.answers > answers + 100);
    await poster[Symbol.asyncDispose]();
    const report = await load.stop();
    console.log(`${JSON.stringify([...poster.statuses])}; ${describeLoad(report)}`);
    expect([...poster.statuses.keys()]).toEqual(["400"]);
    assertAllRight(report);
    await awaitRest();
  },
);

test(
  `${LEAVING} clients that go away while they wait leave nothing behind, and next to nothing of theirs runs`,
  { timeout: 120_000 },
  async () => {
    onTestFailed(() => console.error(system.process.log.tail()));
    const ranBefore = await metric("worker-1", "millrace_worker_rows_total");
    const request = simulatedRequest(1);
    const head = `POST /v2/models/slow/infer HTTP/1.1\r\nHost: test\r\nx-request-timeout-ms: 100000\r\nContent-Length: ${request.length}\r\n\r\n`;
    const clients: RawConnection[] = [];
    for (let i = 0; i < LEAVING; i++) {
      const client = new RawConnection(system.url);
      clients.push(client);
      await client.write(head + request);
    }
    await until(10_000, "all in flight", async () => {
      const answered = clients.filter(({ rest }) => rest !== "").length;
      return answered + (await metric("gateway-1", "millrace_gateway_inflight_requests")) === LEAVING;
    });
    for (const client of clients) client[Symbol.dispose]();
    await awaitRest();
    const answered = clients.filter(({ rest }) => rest !== "").length;
    // It runs behind whatever of the others does.
    expect(
      (await post(`${system.url}/v2/models/slow/infer`, request, { "x-request-timeout-ms": "19000" })).status,
    ).toBe(200);
    const ran = (await metric("worker-1", "millrace_worker_rows_total")) - ranBefore - 1;
    console.log(`of ${LEAVING} rows ${ran} ran, of which ${answered} were answered before their client went`);
    // What runs, what is staged behind it, and what leaves while the cancellations are on their way.
    expect(ran).toBeLessThanOrEqual(answered + 3 * BATCH_ROWS_MAX);
    // Otherwise nobody has waited in the queue, and the test has shown nothing.
    expect(answered).toBeLessThan(LEAVING / 2);
  },
);

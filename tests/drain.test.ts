import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFailed, test } from "vitest";
import { until } from "./support/bounded.ts";
import { get, post } from "./support/inference-client.ts";
import { assertAllRight, describeLoad, startLoad } from "./support/load.ts";
import { mixedModel, perceptronModel, writeModels } from "./support/load-models.ts";
import { postBytes, RawConnection } from "./support/raw-connection.ts";
import { ROOT } from "./support/repository.ts";
import { simulatedRequest, writeSimulatedModel } from "./support/simulated-model.ts";
import { DevSystem, type RoleProcess, startBroker, startGateway, startWorker } from "./support/system.ts";
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

/** Long against the look at readiness and the two answers that have to fit in, on a machine that is busy with other things too. */
const DRAIN_DELAY_MS = 5_000;

// Balancers notice late, and kept connections hear of a drain with an answer: so a gateway can go on for a while.
test("a gateway with a drain delay serves on, closes each connection with its answer, and then refuses", async () => {
  await using broker = await startBroker();
  const models = join(ROOT, "models");
  await using worker = await startWorker({ broker: broker.addresses["workers"] ?? "", models });
  const env = { MILLRACE_DRAIN_DELAY_MS: String(DRAIN_DELAY_MS) };
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
  await until(DRAIN_DELAY_MS, "an unready gateway", async () => (await get(`${admin}/readyz`)).status === 503);
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

/** Long against everything that a test does while a run lasts. */
const SLOW_RUN_MS = 1_500;

const PATH = "/v2/models/slow/infer";

type System = AsyncDisposable &
  Readonly<Record<"broker" | "worker" | "gateway", RoleProcess>> & { readonly url: string };

/** One process of each role, with a model whose runs take long. */
async function startSystem(): Promise<System> {
  const parts = new AsyncDisposableStack();
  try {
    const folder = parts.use(await temporaryFolder());
    await writeSimulatedModel(folder.path, { name: "slow", runMs: SLOW_RUN_MS });
    const broker = parts.use(await startBroker());
    const { gateways = "", workers = "" } = broker.addresses;
    const worker = parts.use(await startWorker({ broker: workers, models: folder.path }));
    const gateway = parts.use(await startGateway({ broker: gateways }));
    onTestFailed(() => console.error([broker, worker, gateway].map(({ log }) => log.tail(30)).join("\n--\n")));
    await gateway.log.waitFor(/gateway is ready/);
    const url = gateway.addresses["http"] ?? "";
    return { broker, worker, gateway, url, [Symbol.asyncDispose]: () => parts.disposeAsync() };
  } catch (error) {
    await parts.disposeAsync();
    throw error;
  }
}

/** Resolves when a request is in a run. */
async function awaitRun({ broker }: System): Promise<void> {
  await until(5_000, "a run", async () => {
    const { text } = await get(`${broker.addresses["admin"]}/sessions`);
    return /"out":1/.test(text);
  });
}

async function readyz(role: RoleProcess): Promise<number> {
  return (await get(`${role.addresses["admin"]}/readyz`)).status;
}

test.each(["worker", "broker", "gateway"] as const)(
  "SIGTERM of a %s: it is not ready at once, what runs is answered, and it ends with code 0",
  async (name) => {
    await using system = await startSystem();
    const role = system[name];
    expect(await readyz(role)).toBe(200);
    const running = post(`${system.url}${PATH}`, simulatedRequest(1));
    await awaitRun(system);
    let isAnswered = false;
    void running.then(() => (isAnswered = true));
    role.signal("SIGTERM");
    await role.log.waitFor(/"draining"/);
    // While the request is still being served.
    expect([await readyz(role), isAnswered]).toEqual([503, false]);
    const { status, headers, text } = await running;
    expect(status, text).toBe(200);
    if (name === "gateway") expect(headers.get("connection")).toBe("close");
    expect(await role.awaitExit(5_000)).toEqual({ code: 0, signal: null });
  },
);

test("a gateway that is held up while the broker ends still gets its last answer", async () => {
  await using system = await startSystem();
  const { broker, worker, gateway, url } = system;
  const running = post(`${url}${PATH}`, simulatedRequest(1));
  await awaitRun(system);
  broker.signal("SIGTERM");
  gateway.signal("SIGSTOP");
  await worker.log.waitFor(/said goodbye/);
  // Its answer has been sent, and nobody has read it.
  await sleep(200);
  gateway.signal("SIGCONT");
  const { status, text } = await running;
  expect(status, text).toBe(200);
  expect(await broker.awaitExit(5_000)).toEqual({ code: 0, signal: null });
});

test("a drain of the gateway does not wait for requests that do not arrive", { timeout: 40_000 }, async () => {
  await using system = await startSystem();
  const { gateway, url } = system;
  const [head = "", body = ""] = postBytes(PATH, simulatedRequest(1), ["Expect: 100-continue"]).split("\r\n\r\n");
  using neverEnds = new RawConnection(url);
  await neverEnds.write(`${head}\r\n\r\n`);
  expect((await neverEnds.answer()).status).toBe(100);
  using comesLate = new RawConnection(url);
  await comesLate.write(`${head}\r\n\r\n`);
  expect((await comesLate.answer()).status).toBe(100);
  using halfHead = new RawConnection(url);
  await halfHead.write("GET /livez HTTP/1.1\r\n");
  gateway.signal("SIGTERM");
  await gateway.log.waitFor(/"draining"/);
  // One that was accepted before is served if it arrives in time.
  await comesLate.write(body);
  const served = await comesLate.answer();
  expect([served.status, served.headers["connection"]]).toEqual([200, "close"]);
  for (const connection of [neverEnds, halfHead]) {
    const refused = await connection.answer();
    expect([refused.status, refused.headers["connection"]]).toEqual([408, "close"]);
  }
  expect(await gateway.awaitExit(5_000)).toEqual({ code: 0, signal: null });
});

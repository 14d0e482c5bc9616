import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFailed, test } from "vitest";
import { assertAllRight, describeLoad, type RunningLoad, startLoad } from "./support/load.ts";
import { mixedModel, perceptronModel, writeModels } from "./support/load-models.ts";
import { type Answer, elements, get, infer, post } from "./support/inference-client.ts";
import { writeSimulatedModel } from "./support/simulated-model.ts";
import { readMetrics, sumOf } from "./support/metrics-text.ts";
import { type RoleProcess, startBroker, startGateway, startWorker } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";
import { byShare } from "./support/test-share.ts";

const ROUNDS = byShare(1, 5);
const POLL_MS = 20;
const CONNECTIONS = 8;
/** Of a gateway that is killed: while it is away each fails fifty times a second, and a load gives up at a thousand faults. */
const CUT_CONNECTIONS = 2;

type Environment = Readonly<Record<string, string>>;

type Start = (env: Environment) => Promise<RoleProcess>;

/** A process that is killed and starts again where it was. */
class Mortal implements AsyncDisposable {
  readonly #start: Start;
  readonly #ports: Environment;
  now: RoleProcess;

  private constructor(start: Start, now: RoleProcess, ports: Environment) {
    this.#start = start;
    this.now = now;
    this.#ports = ports;
  }

  /** `listens`: the option of each address that has to stay the same. */
  static async begin(start: Start, listens: Environment = {}): Promise<Mortal> {
    const now = await start({});
    const ports = Object.entries(listens).map(([address, option]) => [option, new URL(now.addresses[address]!).port]);
    return new Mortal(start, now, Object.fromEntries(ports) as Environment);
  }

  /** kill -9. */
  async die(): Promise<void> {
    this.now.signal("SIGKILL");
    await this.now.exited;
  }

  async again(): Promise<void> {
    this.now = await this.#start(this.#ports);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.now[Symbol.asyncDispose]();
  }
}

async function goesOn(loads: readonly RunningLoad[]): Promise<void> {
  for (const load of loads) {
    const { answers } = await load.progressed(() => true);
    await load.progressed((progress) => progress.answers > answers + 200);
  }
}

test(
  `two gateways, two brokers, three workers: kill -9 of each in turn, ${ROUNDS} times, costs only those an answer whose gateway it was`,
  { timeout: 60_000 + ROUNDS * 120_000 },
  async () => {
    await using folder = await temporaryFolder();
    const models = [perceptronModel(), mixedModel()];
    const paths = await writeModels(folder.path, models);
    const ports = { gateways: "MILLRACE_GATEWAY_PORT", workers: "MILLRACE_WORKER_PORT" };
    await using broker1 = await Mortal.begin((env) => startBroker({ env }), ports);
    await using broker2 = await Mortal.begin((env) => startBroker({ env }), ports);
    const brokers = [broker1, broker2];
    const where = (side: string): string => brokers.map(({ now }) => now.addresses[side]).join(",");
    const workersAt = where("workers");
    const worker = (): Promise<Mortal> =>
      Mortal.begin((env) => startWorker({ broker: workersAt, models: folder.path, env }));
    await using worker1 = await worker();
    await using worker2 = await worker();
    await using worker3 = await worker();
    const gatewaysAt = where("gateways");
    const gateway = (): Promise<Mortal> =>
      Mortal.begin((env) => startGateway({ broker: gatewaysAt, env }), { http: "MILLRACE_PORT" });
    await using gateway1 = await gateway();
    await using gateway2 = await gateway();
    const all = { broker1, broker2, worker1, worker2, worker3, gateway1, gateway2 };
    onTestFailed(() => {
      for (const [name, { now }] of Object.entries(all)) console.error(`-- ${name}\n${now.log.tail(60)}`);
    });
    for (const { now } of [gateway1, gateway2]) await now.log.waitFor(/gateway is ready/);

    const pools = models.map(({ name }, i) => ({ model: name, path: paths[i]!, rows: 500, seed: 81 + i }));
    const loadOn = ({ now }: Mortal, connections: number, seed: number): Promise<RunningLoad> => {
      const urls = [now.addresses["http"]!];
      return startLoad({ urls, connections, requests: Number.MAX_SAFE_INTEGER, pools, seed });
    };
    await using load1 = await loadOn(gateway1, CONNECTIONS, 83);
    for (let round = 0; round < ROUNDS; round++) {
      await using load2 = await loadOn(gateway2, CUT_CONNECTIONS, 84 + round);
      await goesOn([load1, load2]);
      for (const mortal of [broker1, broker2, worker1, worker2, worker3]) {
        await mortal.die();
        await goesOn([load1, load2]);
        await mortal.again();
        await goesOn([load1, load2]);
      }
      await gateway2.die();
      await goesOn([load1]);
      await gateway2.again();
      await goesOn([load1, load2]);
      const cut = await load2.stop();
      console.log(describeLoad(cut));
      // Its clients lost their connections, and were told 503 until the next gateway had found a broker; nothing else.
      const { "503": _early, ...statuses } = cut.identity.statuses;
      for (const error of cut.identity.firstErrors) expect(error).toMatch(/^503 .*the gateway is not ready/);
      assertAllRight({ ...cut, faults: 0, identity: { ...cut.identity, statuses } });
      expect(cut.faults).toBeGreaterThan(0);
    }
    const kept = await load1.stop();
    console.log(describeLoad(kept));
    assertAllRight(kept);
    expect(kept.identity.retried).toBeGreaterThan(0);
    // At rest nothing is left of whatever was killed.
    for (const { now } of brokers) {
      const metrics = await readMetrics(now.addresses["admin"]!);
      expect(sumOf(metrics, "millrace_broker_queue_depth")).toBe(0);
      expect(sumOf(metrics, "millrace_broker_inflight_requests")).toBe(0);
    }
    for (const { now } of Object.values(all)) {
      now.signal("SIGTERM");
      expect(await now.awaitExit()).toMatchObject({ code: 0 });
    }
  },
);

test(
  "a gateway leaves a broker that no worker finds for one that has workers, and serves",
  { timeout: 60_000 },
  async () => {
    await using folder = await temporaryFolder();
    await writeSimulatedModel(folder.path, { name: "device", runMs: 1, rowMs: 1, maxBatchSize: 8 });
    await using one = await startBroker();
    await using other = await startBroker();
    const brokers = [one, other];
    await using gateway = await startGateway({
      broker: brokers.map(({ addresses }) => addresses["gateways"]).join(","),
    });
    onTestFailed(() => console.error(gateway.log.tail()));
    const chosen = await gateway.log.waitFor(/requests go to this broker/);
    const used = brokers.findIndex(({ addresses }) => chosen.includes(addresses["gateways"]!));
    await gateway.log.waitFor(/gateway is ready/);
    const elsewhere = brokers[1 - used]!;
    const from = gateway.log.lines.length;
    await using _worker = await startWorker({ broker: elsewhere.addresses["workers"]!, models: folder.path });
    const change = await gateway.log.waitFor(/requests go to this broker/, { from });
    expect(change).toContain(elsewhere.addresses["gateways"]);
    expect(change).toContain(`${brokers[used]!.addresses["gateways"]} has no workers`);
    const answer = await infer(gateway.addresses["http"]!, "device", { x: elements("FP32", [1, 2], [3, 1]) });
    // As the device is documented to answer (docs/model-repository.md).
    expect(answer["y"]!.data).toEqual([2 - 5 * 3, 4 - 3 * 3]);
  },
);

test(
  "a request with time left outlasts a broker that is away for long, and one with less hears so early",
  { timeout: 60_000 },
  async () => {
    await using folder = await temporaryFolder();
    await writeSimulatedModel(folder.path, { name: "device", runMs: 1, rowMs: 1, maxBatchSize: 8 });
    const ports = { gateways: "MILLRACE_GATEWAY_PORT", workers: "MILLRACE_WORKER_PORT" };
    await using broker = await Mortal.begin((env) => startBroker({ env }), ports);
    const { gateways = "", workers = "" } = broker.now.addresses;
    await using gateway = await startGateway({ broker: gateways });
    await using worker = await startWorker({ broker: workers, models: folder.path });
    onTestFailed(() => console.error([broker.now, gateway, worker].map(({ log }) => log.tail(20)).join("\n--\n")));
    const url = `${gateway.addresses["http"]}/v2/models/device/infer`;
    const inputs = [{ name: "x", datatype: "FP32", shape: [1, 2], data: [3, 1] }];
    const ask = (timeoutMs: number): Promise<Answer> =>
      post(url, { inputs }, { "x-request-timeout-ms": String(timeoutMs) });
    while ((await get(`${gateway.addresses["http"]}/v2/models/device/ready`)).status !== 200) await sleep(POLL_MS);

    await broker.die();
    await gateway.log.waitFor(/lost the broker/);
    const patient = ask(30_000);
    const early = await ask(5_000);
    expect(early).toMatchObject({ status: 503, text: expect.stringContaining("no broker can be reached") as unknown });
    expect((await get(`${gateway.addresses["admin"]}/readyz`)).status).toBe(503);
    await broker.again();
    const answer = await patient;
    expect(answer).toMatchObject({ status: 200 });
    expect(JSON.parse(answer.text)).toMatchObject({ outputs: [{ data: [2 - 5 * 3, 4 - 3 * 3] }] });
  },
);

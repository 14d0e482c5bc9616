import { onTestFailed, expect, test } from "vitest";
import { DnsServer } from "./support/dns-server.ts";
import { assertAllRight, describeLoad, startLoad } from "./support/load.ts";
import { perceptronModel, writeModels } from "./support/load-models.ts";
import { readMetrics, sumOf } from "./support/metrics-text.ts";
import { type RoleProcess, startBroker, startGateway, startWorker } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

const NAME = "broker.millrace.test";
const [HERE, THERE] = ["127.0.0.1", "127.0.0.2"] as const;

/** Ports of a broker: all that its address has beside the IP that its name gives. */
type Ports = { readonly gateways: string; readonly workers: string };

function portsOf(broker: RoleProcess): Ports {
  const { gateways = "", workers = "" } = broker.addresses;
  return { gateways: new URL(gateways).port, workers: new URL(workers).port };
}

/** The next broker, where the name will lead to: another IP, the same ports. */
function startSuccessor(host: string, ports: Ports): Promise<RoleProcess> {
  const env = { MILLRACE_GATEWAY_PORT: ports.gateways, MILLRACE_WORKER_PORT: ports.workers };
  return startBroker({ env: { MILLRACE_HOST: host, ...env } });
}

test("a gateway that is there before its broker's name finds the broker once the name is there", async () => {
  await using dns = await DnsServer.start();
  await using broker = await startBroker();
  const env = { MILLRACE_DNS_SERVERS: dns.address, MILLRACE_DISCOVERY_INTERVAL_MS: "100" };
  await using gateway = await startGateway({ broker: `tcp://${NAME}:${portsOf(broker).gateways}`, env });
  await gateway.log.waitFor(/ENOTFOUND.*gives nothing/);
  await dns.asked(10);
  expect((await fetch(`${gateway.addresses["admin"]}/readyz`)).status).toBe(503);
  dns.set(NAME, [HERE]);
  await gateway.log.waitFor(/gateway is ready/);
  expect(gateway.log.count(/the brokers' name gives nothing/)).toBe(1);
});

test("a name that only the system knows is found, too", async () => {
  await using broker = await startBroker();
  await using gateway = await startGateway({ broker: `tcp://localhost:${portsOf(broker).gateways}` });
  await gateway.log.waitFor(/gateway is ready/);
});

test(
  "a broker is replaced by one with another IP while DNS fails in every way: every answer is 200 and right",
  {
    timeout: 90_000,
  },
  async () => {
    await using folder = await temporaryFolder();
    const model = perceptronModel();
    const [path = ""] = await writeModels(folder.path, [model]);
    await using dns = await DnsServer.start();
    dns.set(NAME, [HERE]);
    await using first = await startBroker();
    const ports = portsOf(first);
    const env = { MILLRACE_DNS_SERVERS: dns.address, MILLRACE_DISCOVERY_INTERVAL_MS: "100" };
    await using worker = await startWorker({ broker: `tcp://${NAME}:${ports.workers}`, models: folder.path, env });
    await using gateway = await startGateway({ broker: `tcp://${NAME}.:${ports.gateways}`, env });
    const roles = [worker, gateway];
    onTestFailed(() => console.error([...roles, first].map(({ log }) => log.tail(80)).join("\n--\n")));
    await gateway.log.waitFor(/gateway is ready/);
    const pools = [{ model: model.name, path, rows: 200, seed: 71 }];
    const urls = [gateway.addresses["http"] ?? ""];
    const plan = { urls, connections: 16, requests: Number.MAX_SAFE_INTEGER, pools, seed: 72 };
    await using load = await startLoad(plan);
    const goesOn = async (): Promise<void> => {
      const { answers } = await load.progressed(() => true);
      await load.progressed((progress) => progress.answers > answers + 200);
    };
    await goesOn();

    for (const trouble of ["NXDOMAIN", "SERVFAIL", "silence", []] as const) {
      dns.set(NAME, trouble);
      // Two processes, and more than the three polls after which an absent address counts as gone.
      await dns.asked(trouble === "silence" ? 8 : 16);
      await goesOn();
    }
    for (const { log } of roles) expect(log.count(/the brokers' name gives nothing/), log.tail()).toBe(1);

    // As a rolling restart does: the new one is there, and found, before the old one is told to end.
    await using second = await startSuccessor(THERE, ports);
    dns.set(NAME, [HERE, THERE]);
    for (const { log } of roles) await log.waitFor(/127\.0\.0\.2:.*connected to the broker/);
    first.signal("SIGTERM");
    dns.set(NAME, [THERE]);
    expect(await first.awaitExit()).toMatchObject({ code: 0 });
    for (const { log } of roles) await log.waitFor(/127\.0\.0\.1:.*gave up a broker/);
    await goesOn();

    // Without that care: the old one is told to end before anybody has seen the new one.
    await using third = await startSuccessor(HERE, ports);
    const from = roles.map(({ log }) => log.lines.length);
    second.signal("SIGTERM");
    dns.set(NAME, [HERE]);
    expect(await second.awaitExit()).toMatchObject({ code: 0 });
    for (const [at, { log }] of roles.entries()) await log.waitFor(/connected to the broker/, { from: from[at]! });
    await goesOn();
    const report = await load.stop();
    console.log(describeLoad(report));
    assertAllRight(report);
    for (const { log } of roles) expect(log.count(/the brokers' name gives nothing/)).toBe(1);
    // Every broker was new to them, one at an address that they had given up included.
    for (const { addresses } of roles) {
      expect(sumOf(await readMetrics(addresses["admin"] ?? ""), "millrace_reconnects_total")).toBe(0);
    }
    for (const role of [gateway, worker, third]) {
      role.signal("SIGTERM");
      expect(await role.awaitExit()).toMatchObject({ code: 0 });
    }
  },
);

import { join } from "node:path";
import { expect, onTestFailed, test } from "vitest";
import { until, within } from "./support/bounded.ts";
import { get } from "./support/inference-client.ts";
import { ROOT } from "./support/repository.ts";
import { StartedProcess } from "./support/started-process.ts";

const MODELS = join(ROOT, "models");
const FREE = { MILLRACE_ADMIN_PORT: "0" };

/** Starts a program as `node PATH` does, without a flag, and waits for its report. */
async function start(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<{ readonly process: StartedProcess; readonly addresses: Readonly<Record<string, string>> }> {
  const process = new StartedProcess({ argv, env: { ...FREE, ...env } });
  onTestFailed(() => console.error(process.log.tail()));
  return { process, addresses: await within(20_000, `the report of ${argv.join(" ")}`, process.ready) };
}

async function expectCleanEnd(process: StartedProcess): Promise<void> {
  process.signal("SIGTERM");
  expect(await process.awaitExit(10_000)).toEqual({ code: 0, signal: null });
  expect(process.tree()).toEqual([]);
}

/** A role has a program of its own, and is a command of `millrace`. */
const PROGRAMS = [
  ["its main.ts", (role: string) => [`services/${role === "worker" ? "inference-worker" : role}/src/main.ts`]],
  ["the command line", (role: string) => ["cli/src/main.ts", role]],
] as const;

test.for(PROGRAMS)("every role by %s: starts, reports where it is, and ends with 0 on SIGTERM", async ([, argvOf]) => {
  const ports = { MILLRACE_GATEWAY_PORT: "0", MILLRACE_WORKER_PORT: "0" };
  const broker = await start(argvOf("broker"), ports);
  await using brokerProcess = broker.process;
  const { workers = "", gateways = "" } = broker.addresses;
  const [worker, gateway] = await Promise.all([
    start(argvOf("worker"), { MILLRACE_BROKERS: workers, MILLRACE_MODELS: MODELS, MILLRACE_THREADS: "1" }),
    start(argvOf("gateway"), { MILLRACE_BROKERS: gateways, MILLRACE_PORT: "0" }),
  ]);
  await using workerProcess = worker.process;
  await using gatewayProcess = gateway.process;
  for (const { addresses } of [broker, worker, gateway]) {
    // A gateway listens before it has heard of a broker.
    const readyUrl = `${addresses["admin"]}/readyz`;
    await until(5_000, readyUrl, async () => (await get(readyUrl)).status === 200);
  }
  expect((await get(`${gateway.addresses["http"]}/livez`)).status).toBe(200);
  for (const process of [gatewayProcess, workerProcess, brokerProcess]) await expectCleanEnd(process);
});

test("a worker and a gateway without a broker live, and end with 0 on SIGTERM", async () => {
  const gateway = await start(["services/gateway/src/main.ts"], {
    MILLRACE_BROKERS: "tcp://127.0.0.1:1",
    MILLRACE_PORT: "0",
  });
  await using gatewayProcess = gateway.process;
  const http = gateway.addresses["http"];
  expect((await get(`${http}/livez`)).status).toBe(200);
  const ready = await get(`${http}/readyz`);
  expect(ready.status).toBe(503);
  expect(JSON.parse(ready.text)).toMatchObject({ ready: false, reason: "no broker can be reached" });
  await using worker = new StartedProcess({
    argv: ["services/inference-worker/src/main.ts"],
    env: { ...FREE, MILLRACE_BROKERS: "tcp://127.0.0.1:1", MILLRACE_MODELS: MODELS },
  });
  await worker.log.waitFor(/model is warm/);
  await expectCleanEnd(worker);
  await expectCleanEnd(gatewayProcess);
});

test("a role that is not known, and what roles refuse, is told with exit code 2", async () => {
  const usages = [
    [["cli/src/main.ts", "brooker"], /^unknown command "brooker"/],
    [["cli/src/main.ts", "worker", "--slots", "none"], /^--slots: "none" is not allowed/],
    [["services/broker/src/main.ts", "--port", "1"], /^unknown option --port/],
  ] as const;
  await Promise.all(
    usages.map(async ([argv, line]) => {
      await using process = new StartedProcess({ argv });
      expect((await process.awaitExit(10_000)).code).toBe(2);
      expect(process.log.lines).toEqual([expect.stringMatching(line)]);
    }),
  );
});

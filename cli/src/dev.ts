import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { helpOfOptions, type OptionTable, usableProcessors, wholeProcessors } from "@millrace/runtime";
import { configureDev, DEV_OPTIONS, type DevOptions, type Role, type RoleTables } from "./dev-configuration.ts";
import { DevLog } from "./dev-log.ts";
import { DevPlan } from "./dev-plan.ts";
import { makeExampleCurl } from "./example-curl.ts";
import { Fleet } from "./fleet.ts";
import { findModels, HOME } from "./models-folder.ts";
import { awaitServing } from "./readiness.ts";
import { StopRequest } from "./stop-request.ts";

/** A process gets this much longer than its own grace before it is killed, in milliseconds. */
const DRAIN_SLACK_MS = 2_000;

/** The help text of `millrace dev`. */
export async function devHelp(): Promise<string> {
  const { gateway, broker, worker } = await loadTables();
  const own = new Set(["name", ...Object.keys(DEV_OPTIONS)]);
  const others = Object.entries<OptionTable[string]>({ ...gateway, ...broker, ...worker }).filter(
    ([key]) => !own.has(key),
  );
  return [
    "millrace dev [OPTIONS]: the whole system on this machine",
    "",
    helpOfOptions(DEV_OPTIONS),
    "",
    "Options of the roles, passed on to those that know them:",
    "",
    helpOfOptions(Object.fromEntries(others)),
  ].join("\n");
}

/**
 * Runs the whole system on this machine until it is told to stop; then exits: 0 after a drain, 1 where it could not
 * start or something had to be killed, 130 or 143 at a second signal. The log goes to stderr. On stdout, once, when
 * requests are answered: `ready http://HOST:PORT …`, the other ports, and a `curl` line that works as printed.
 *
 * @throws {OptionError} before anything is started.
 */
export async function runDev(argv: string[]): Promise<void> {
  const tables = await loadTables();
  const configuration = configureDev(tables, { env: process.env, argv });
  const { options } = configuration;
  const models = findModels(options.models);
  const programs = { gateway: programOf("gateway"), broker: programOf("broker"), worker: programOf("worker") };
  const plan = new DevPlan({
    configuration,
    tables,
    programs,
    models,
    processors: wholeProcessors(usableProcessors()),
  });
  const log = new DevLog({
    names: plan.names,
    format: options.logFormat,
    level: options.logLevel,
    stream: process.stderr,
    env: process.env,
  });

  const stop = new StopRequest();
  const fleet = new Fleet(plan, {
    line: (name, line) => log.line(name, line),
    log: (level, name, message) => log.logger[level](`${name} ${message}`),
    gaveUp: (name, reason) => stop.request({ code: 1, reason: `${name} ${reason}` }),
  });
  stop.listen(() => fleet.kill());
  log.logger.info({ models }, "starting");
  serve({ fleet, log, stop, options }).catch((error: unknown) => {
    stop.request({ code: 1, reason: error instanceof Error ? error.message : String(error) });
  });

  const { code, reason } = await stop.requested;
  if (code === 0) log.logger.info({ reason }, "draining");
  else log.logger.error(`${reason}; ending`);
  const killed = await fleet.drain(options.drainGraceMs + DRAIN_SLACK_MS);
  if (killed.length > 0) log.logger.error(`killed after the drain's grace: ${killed.join(", ")}`);
  process.exit(killed.length > 0 ? 1 : code);
}

async function serve(parts: { fleet: Fleet; log: DevLog; stop: StopRequest; options: DevOptions }): Promise<void> {
  const { fleet, log, stop } = parts;
  const { signal } = stop;
  await fleet.start(signal, (waitingFor) => log.logger.info(`waiting for ${waitingFor}`));
  const reports = await Promise.all(fleet.gateways.map((gateway) => gateway.firstReady));
  const urls = reports.map((addresses) => toClientUrl(addresses["http"] ?? ""));
  const onProgress = (reason: string): void => log.logger.info(`not serving yet: ${reason}`);
  await Promise.all(urls.map((url) => awaitServing({ url, signal, onProgress })));
  const lines = [`ready ${urls.join(" ")}`, ...(await describePorts(fleet))];
  const curl = await makeExampleCurl(urls[0] ?? "", [resolve("examples"), resolve(HOME, "examples")]);
  signal.throwIfAborted();
  process.stdout.write(`${[...lines, ...(curl === undefined ? [] : [curl])].join("\n")}\n`);
}

/** One line per process that has ports beside the HTTP one: `broker-1 gateways tcp://… workers tcp://… admin http://…`. */
async function describePorts(fleet: Fleet): Promise<readonly string[]> {
  return Promise.all(
    fleet.children.map(async (child) => {
      const addresses = Object.entries(await child.firstReady).filter(([kind]) => kind !== "http");
      return [child.spec.name, ...addresses.map(([kind, address]) => `${kind} ${address}`)].join(" ");
    }),
  );
}

/** A wildcard address is not one to connect to: the loopback address is. */
function toClientUrl(address: string): string {
  return address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:").replace(/\/$/, "");
}

async function loadTables(): Promise<RoleTables> {
  const [gateway, broker, worker] = await Promise.all([
    import("@millrace/gateway/config"),
    import("@millrace/broker/config"),
    import("@millrace/inference-worker/config"),
  ]);
  return { gateway: gateway.OPTIONS, broker: broker.OPTIONS, worker: worker.OPTIONS };
}

function programOf(role: Role): string {
  const packageName = role === "worker" ? "inference-worker" : role;
  return fileURLToPath(import.meta.resolve(`@millrace/${packageName}/main`));
}

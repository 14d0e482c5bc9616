import { performance } from "node:perf_hooks";
import {
  createLogger,
  Lifecycle,
  loadOptions,
  MetricsPage,
  parseTestDelay,
  processName,
  readOptionFile,
  reportReady,
  runMain,
  runUntilSignal,
  startAdminServer,
} from "@millrace/runtime";
import { parseCurvePage } from "@millrace/scheduling";
import packageJson from "../package.json" with { type: "json" };
import { OPTIONS, toTenantWeight } from "./config.ts";
import { decisionsOf } from "./decisions/decision-route.ts";
import { Dashboard } from "./dashboard/dashboard.ts";
import { BROKER_METRICS } from "./metrics/metric-table.ts";
import { BrokerMetrics } from "./metrics/metrics.ts";
import { NO_OBSERVER } from "./metrics/observer.ts";
import { BrokerServer } from "./server.ts";

/** Execution lanes that one worker may announce. */
const SLOTS_MAX = 64;

/** Runs a broker until a signal drains it. */
export async function main(argv: string[]): Promise<void> {
  const options = loadOptions(OPTIONS, { env: process.env, argv });
  const name = processName("broker", options.name);
  const logger = createLogger({ role: "broker", name, level: options.logLevel });
  const lifecycle = new Lifecycle();
  const { curvesFile } = options;
  const curves =
    curvesFile === "" ? [] : await readOptionFile({ path: curvesFile, what: "curves file" }, parseCurvePage);

  const metrics = new BrokerMetrics(packageJson.version, options.commit);
  const { buckets } = BROKER_METRICS.millrace_broker_request_duration_seconds;
  const dashboard = new Dashboard({ name, metrics: metrics.values, bounds: buckets });
  let server: BrokerServer | undefined;
  const admin = await startAdminServer({
    host: options.adminHost,
    port: options.adminPort,
    isReady: () => ({ ready: lifecycle.state === "ready", reason: lifecycle.state }),
    routes: {
      "/models": () => server?.core.models.describe(),
      "/curves": () => server?.core.models.curves(),
      "/sessions": () => server?.core.describeSessions(),
      "/decisions": (query) => server && decisionsOf(server.core.models, query, performance.now()),
    },
    handlers: { "/metrics": new MetricsPage(metrics.values).handler, ...dashboard.routes },
  });
  lifecycle.onDrain(() => admin.close());
  server = await BrokerServer.start({
    instance: name,
    weights: { classes: options.classWeights, tenants: new Map(options.tenantWeights.map(toTenantWeight)) },
    curves,
    hedgePercent: options.hedgePercent,
    looseBudgetMs: options.looseBudgetMs || Infinity,
    queueRowsMax: options.queueRowsMax,
    queueBytesMax: options.queueBytesMax,
    slotsMax: SLOTS_MAX,
    testHoldMs: parseTestDelay(options.testDelay).get("broker_queue") ?? 0,
    gatewayAddress: `tcp://${options.host}:${options.gatewayPort}`,
    workerAddress: `tcp://${options.host}:${options.workerPort}`,
    observer: options.metrics ? metrics : NO_OBSERVER,
    logger,
    onReport: (report) => dashboard.report(report),
  });
  const { core } = server;
  metrics.watch(core);
  dashboard.watch(core);
  lifecycle.onDrain((reason) => server?.drain(reason));

  const addresses = {
    gateways: server.address("gateway"),
    workers: server.address("worker"),
    admin: admin.address,
    dashboard: `${admin.address}/dashboard`,
  };
  lifecycle.becomeReady();
  logger.info(addresses, "broker is ready");
  reportReady({ addresses });
  const { drainGraceMs } = options;
  await runUntilSignal({ lifecycle, logger, drainGraceMs, left: () => `${core.openRequests} requests` });
}

if (import.meta.main) await runMain(main);

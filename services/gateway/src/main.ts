import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import {
  createLogger,
  Lifecycle,
  loadOptions,
  MetricsPage,
  OptionError,
  parseTestDelay,
  processName,
  reportReady,
  runMain,
  runUntilSignal,
  startAdminServer,
} from "@millrace/runtime";
import packageJson from "../package.json" with { type: "json" };
import { AccessLogger } from "./call/access-logger.ts";
import { createApp } from "./app.ts";
import { BrokerInference } from "./broker/broker-inference.ts";
import type { CallObserver } from "./call/call-end.ts";
import { OPTIONS } from "./config.ts";
import { surroundWithHooks } from "./hooks/hooked-inference.ts";
import { startHttpServer } from "./http/http-server.ts";
import { GatewayMetrics } from "./metrics.ts";
import { FormPool } from "./form-threads/form-pool.ts";
import { SplitInference } from "./broker/split-inference.ts";
import { type ApiKeys, parseApiKeys } from "./call/tenant-access.ts";

/** How often a drain looks whether every request has been answered, in ms. */
const DRAIN_POLL_MS = 10;

/** Runs a gateway until a signal drains it. */
export async function main(argv: string[]): Promise<void> {
  const options = loadOptions(OPTIONS, { env: process.env, argv });
  const name = processName("gateway", options.name);
  const logger = createLogger({ role: "gateway", name, level: options.logLevel });
  const lifecycle = new Lifecycle();
  const isDraining = (): boolean => lifecycle.state === "draining";

  const metrics = new GatewayMetrics(packageJson.version, options.commit);
  const metricsPage = new MetricsPage(metrics.values);
  const broker = new BrokerInference({
    brokers: options.brokers,
    discoveryIntervalMs: options.discoveryIntervalMs,
    dnsServers: options.dnsServers,
    instance: name,
    retries: options,
    logger,
    onReady: () => logger.info("gateway is ready"),
    testGatewayQueueMs: parseTestDelay(options.testDelay).get("gateway_queue") ?? 0,
    linkMetrics: metrics.links,
  });
  const inference = new SplitInference(broker);
  metrics.watch(inference.models, broker.links);
  lifecycle.onDrain(() => broker.close());
  const admin = await startAdminServer({
    host: options.adminHost,
    port: options.adminPort,
    isReady: () => {
      const reason = isDraining() ? "draining" : inference.unreadyReason();
      return { ready: reason === "", reason };
    },
    handlers: { "/metrics": metricsPage.handler },
  });
  lifecycle.onDrain(() => admin.close());
  const { models, inFlightMax, drainGraceMs } = options;
  const hookObserver = options.metrics ? metrics.hooks : undefined;
  const hooked = await surroundWithHooks(models, { inner: inference, logger, observer: hookObserver, inFlightMax });
  lifecycle.onDrain(() => hooked?.close());
  const accessLogger = createLogger({ role: "gateway", dataset: "gateway.access", name, level: options.logLevel });
  const accessLog = new AccessLogger(accessLogger, options.accessLogSample);
  lifecycle.onDrain(() => accessLog.close());
  const recorder = options.metrics ? metrics : undefined;
  const observer: CallObserver = {
    began: (model) => recorder?.began(model),
    ended: (end) => {
      recorder?.ended(end);
      accessLog.ended(end);
    },
  };
  const onDefect = (error: unknown, requestId?: string): void => {
    logger.error({ ...(requestId !== undefined && { "http.request.id": requestId }), error }, "a request met a defect");
  };
  const formThreads = new FormPool({ threads: options.parseThreads, onDefect });
  lifecycle.onDrain(() => formThreads.close());
  let isRefusing = false;
  const app = createApp({
    inference: hooked ?? inference,
    options,
    formThreads,
    version: packageJson.version,
    isDraining,
    isRefusing: () => isRefusing,
    onDefect,
    apiKeys: readApiKeys(options.apiKeysFile),
    observer,
    metricsPage: options.publicMetrics ? metricsPage : undefined,
  });
  metrics.watchBytes(app.heldBytes);
  const http = await startHttpServer(app, options);
  lifecycle.onDrain(async () => {
    // Balancers need time to look elsewhere, and kept connections an answer that tells them to close.
    await sleep(options.drainDelayMs);
    isRefusing = true;
    http.endSlowRequests();
    // Until the last accepted request is answered, new ones are still told 503 instead of finding a closed port.
    while (app.inFlight() > 0) await sleep(DRAIN_POLL_MS);
    await http.drain();
  });

  const addresses = { http: http.address, admin: admin.address };
  lifecycle.becomeReady();
  logger.info(addresses, "gateway is listening");
  reportReady({ addresses });
  await runUntilSignal({ lifecycle, logger, drainGraceMs, left: () => `${app.inFlight()} requests` });
}

/** @throws {OptionError} where the file cannot be read, or is none of keys. */
function readApiKeys(path: string): ApiKeys | undefined {
  if (path === "") return undefined;
  try {
    return parseApiKeys(readFileSync(path, "utf8"));
  } catch (error) {
    throw new OptionError(`the file of API keys: ${error instanceof Error ? error.message : String(error)}`);
  }
}

if (import.meta.main) await runMain(main);

import { cpus } from "node:os";
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
  usableProcessors,
  wholeProcessors,
} from "@millrace/runtime";
import { parseCurvePage } from "@millrace/scheduling";
import packageJson from "../package.json" with { type: "json" };
import { OPTIONS } from "./config.ts";
import { CurveBook } from "./curve-book.ts";
import { CurveFolder } from "./curve-folder.ts";
import { NO_OBSERVER, WorkerMetrics } from "./metrics.ts";
import { loadModels } from "./model-loader.ts";
import { scanRepository } from "./repository.ts";
import { type RunnerThread, startRunnerThread } from "./runner-host.ts";
import { planSlots } from "./slot-plan.ts";
import { Worker } from "./worker.ts";

/** onnxruntime sends usage data to its maker unless this says otherwise. Set before a thread loads it; whoever wants it says 0. */
const NO_TELEMETRY = { ORT_DISABLE_TELEMETRY: "1" };

/** How often what the curves have learned is written down, where it is, in ms. */
const KEEP_CURVES_EVERY_MS = 60_000;

/** Runs a worker until a signal drains it: loads and warms up its models, and only then tells a broker that it is there. */
export async function main(argv: string[]): Promise<void> {
  const options = loadOptions(OPTIONS, { env: process.env, argv });
  Object.assign(process.env, { ...NO_TELEMETRY, ...process.env });
  const name = processName("worker", options.name);
  const logger = createLogger({ role: "worker", name, level: options.logLevel });
  const curves = await givenCurves(options.curvesFile);
  const lifecycle = new Lifecycle();
  const { drainGraceMs } = options;
  let worker: Worker | undefined;
  void runUntilSignal({ lifecycle, logger, drainGraceMs, left: () => `${worker?.outstanding ?? 0} batches` });

  const metrics = new WorkerMetrics(packageJson.version, options.commit);
  const admin = await startAdminServer({
    host: options.adminHost,
    port: options.adminPort,
    isReady: () => {
      if (lifecycle.state !== "ready") return { ready: false, reason: lifecycle.state };
      return worker?.isConnected === true ? { ready: true } : { ready: false, reason: "no broker can be reached" };
    },
    routes: { "/curves": () => curves.page() },
    handlers: { "/metrics": new MetricsPage(metrics.values).handler },
  });
  lifecycle.onDrain(() => admin.close());

  const testDelays = parseTestDelay(options.testDelay);
  const found = await scanRepository(options.models);
  const { slots, slotsOf } = planSlots(found, options.slots);
  metrics.hasSlots(slots);
  const setup = setupOfSlots({ slots, threads: options.threads });
  logger.info(setup, "worker starts");
  const { threadsPerSlot } = setup;
  const threads = startThreads({ slots, threadsPerSlot, computeDelayMs: testDelays.get("compute") ?? 0 }, (error) => {
    if (lifecycle.state === "draining" || lifecycle.state === "stopped") return;
    // The broker runs its batches elsewhere, and whoever started this process starts it anew.
    logger.fatal({ error }, "a runner thread has ended; exiting");
    process.exit(1);
  });
  lifecycle.onDrain(async () => void (await Promise.all(threads.map((thread) => thread.close()))));

  const { curveDir } = options;
  const folder = new CurveFolder(curveDir, logger);
  const keepCurves = (): Promise<void> => folder.write(curves.takeChanged());
  const models = await loadModels({
    found,
    slotsOf,
    threads,
    threadsPerSlot,
    bytesMax: options.modelBytesMax,
    processor: cpus()[0]?.model ?? process.arch,
    curves,
    folder,
    logger,
    onLoaded: (model, loading) => metrics.loaded(model, loading),
  });
  await keepCurves();
  if (lifecycle.state !== "starting") return;
  if (curveDir !== "") setInterval(() => void keepCurves(), KEEP_CURVES_EVERY_MS).unref();
  worker = new Worker({
    brokers: options.brokers,
    discoveryIntervalMs: options.discoveryIntervalMs,
    dnsServers: options.dnsServers,
    instance: name,
    bytesMax: options.bytesMax,
    models,
    curves,
    threads,
    observer: options.metrics ? metrics : NO_OBSERVER,
    logger,
    testDelays,
    onWelcome: () => {
      if (lifecycle.state !== "starting") return;
      lifecycle.becomeReady();
      logger.info({ models: models.length, slots, threadsPerSlot }, "worker is ready");
      reportReady({ addresses: { admin: admin.address } });
    },
  });
  metrics.links.watch(worker.links);
  lifecycle.onDrain(async (reason) => {
    await worker?.drain(reason);
    await keepCurves();
  });
}

/** Those of a file, or none. */
async function givenCurves(path: string): Promise<CurveBook> {
  return new CurveBook(path === "" ? [] : await readOptionFile({ path, what: "curves file" }, parseCurvePage));
}

/** What the slots have to themselves; the limit is that of the process's control group, in processors. */
type SlotSetup = {
  readonly processors: number;
  readonly processorLimit: number | undefined;
  readonly slots: number;
  readonly threadsPerSlot: number;
};

function setupOfSlots({ slots, threads }: { readonly slots: number; readonly threads: number }): SlotSetup {
  const processors = usableProcessors();
  const threadsPerSlot = threads || Math.max(1, Math.floor(wholeProcessors(processors) / slots));
  return { processors: processors.count, processorLimit: processors.limit, slots, threadsPerSlot };
}

/** The threads of the slots. `onEnd`: one has ended, asked for or not. */
function startThreads(
  setup: { readonly slots: number; readonly threadsPerSlot: number; readonly computeDelayMs: number },
  onEnd: (error: Error | undefined) => void,
): RunnerThread[] {
  const { slots, threadsPerSlot: threads, computeDelayMs } = setup;
  return Array.from({ length: slots }, () => {
    const thread = startRunnerThread({ threads, computeDelayMs });
    thread.onExit(({ error }) => onEnd(error));
    return thread;
  });
}

if (import.meta.main) await runMain(main);

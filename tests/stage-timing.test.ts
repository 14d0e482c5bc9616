import { Agent, request } from "node:http";
import type { Stage } from "@millrace/runtime";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "./support/bounded.ts";
import { get } from "./support/inference-client.ts";
import { lowerQuartile, readStages, STAGE_NAMES } from "./support/server-timing-reader.ts";
import { simulatedRequest, writeSimulatedModel } from "./support/simulated-model.ts";
import { type RoleProcess, startBroker, startGateway, startWorker } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

const DELAY_MS = 50;
const TOLERANCE_MS = 3;
const RUN_MS = 5;
/** Pairs of requests, one with the delay and one without. Lower quartiles are compared: what disturbs only ever adds. */
const PAIRS = 15;

/** What else the machine does may spoil a measurement; a stage that is wrong is wrong each time. */
const DISTURBED = { retry: 2 };

/** Where to send a request: a gateway, and a model that is served behind it. */
type Target = { readonly url: string; readonly model: string };

/** What one request took: its stages, and the whole as its client sees it. */
type Timed = { readonly stages: Readonly<Record<Stage, number>>; readonly totalMs: number };

/** Everything that a test starts; the control lives as long as the file. */
const started = new AsyncDisposableStack();
let broker: RoleProcess;
let control: Target;

beforeAll(async () => {
  broker = started.use(await startBroker());
  await startModel({ broker, model: "control", delay: "", stack: started });
  const gateway = await startGateway({ broker: broker.addresses["gateways"] ?? "" });
  control = await toTarget(started.use(gateway), "control");
});

afterAll(async () => {
  await started.disposeAsync();
});

/** The role that each stage's delay is built into: what has to be slow beside the control, which shares the rest. */
const SLOW_PARTS: Readonly<Record<Stage, (stage: Stage, stack: AsyncDisposableStack) => Promise<Target>>> = {
  parse: slowGateway,
  preprocess: slowGateway,
  gateway_queue: slowGateway,
  broker_queue: slowBroker,
  batch_wait: slowWorker,
  compute: slowWorker,
  postprocess: slowGateway,
  retry: slowWorker,
  network: slowWorker,
  encode: slowGateway,
};

async function slowGateway(stage: Stage, stack: AsyncDisposableStack): Promise<Target> {
  const env = { MILLRACE_TEST_DELAY: `${stage}:${DELAY_MS}` };
  const gateway = await startGateway({ broker: broker.addresses["gateways"] ?? "", env });
  return toTarget(stack.use(gateway), control.model);
}

async function slowBroker(stage: Stage, stack: AsyncDisposableStack): Promise<Target> {
  const slow = stack.use(await startBroker({ env: { MILLRACE_TEST_DELAY: `${stage}:${DELAY_MS}` } }));
  await startModel({ broker: slow, model: stage, delay: "", stack });
  const gateway = await startGateway({ broker: slow.addresses["gateways"] ?? "" });
  return toTarget(stack.use(gateway), stage);
}

/** Behind the control's gateway and broker, a worker of its own with a model of its own. */
async function slowWorker(stage: Stage, stack: AsyncDisposableStack): Promise<Target> {
  await startModel({ broker, model: stage, delay: `${stage}:${DELAY_MS}`, stack });
  const target = { url: control.url, model: stage };
  await awaitModel(target);
  return target;
}

async function startModel(parts: {
  readonly broker: RoleProcess;
  readonly model: string;
  readonly delay: string;
  readonly stack: AsyncDisposableStack;
}): Promise<void> {
  const folder = parts.stack.use(await temporaryFolder());
  await writeSimulatedModel(folder.path, { name: parts.model, runMs: RUN_MS });
  const address = parts.broker.addresses["workers"] ?? "";
  const env = { MILLRACE_TEST_DELAY: parts.delay, MILLRACE_NAME: `worker-of-${parts.model}` };
  parts.stack.use(await startWorker({ broker: address, models: folder.path, env }));
}

async function toTarget(gateway: RoleProcess, model: string): Promise<Target> {
  const target = { url: gateway.addresses["http"] ?? "", model };
  await awaitModel(target);
  return target;
}

/** A gateway hears of a model a moment after its worker is ready. */
async function awaitModel({ url, model }: Target): Promise<void> {
  await until(10_000, `${model} at ${url}`, async () => (await get(`${url}/v2/models/${model}/ready`)).status === 200);
}

const agent = new Agent({ keepAlive: true });
started.defer(() => agent.destroy());
const body = simulatedRequest(1);

/** One request over a connection that is kept. */
function measure({ url, model }: Target): Promise<Timed> {
  return new Promise((resolve, reject) => {
    const startMs = performance.now();
    const outgoing = request(`${url}/v2/models/${model}/infer`, { method: "POST", agent }, (response) => {
      response.on("error", reject);
      response.on("end", () => {
        const totalMs = performance.now() - startMs;
        const timing = String(response.headers["server-timing"]);
        if (response.statusCode === 200) resolve({ stages: readStages(timing), totalMs });
        else reject(new Error(`${model}: ${response.statusCode} ${timing}`));
      });
      response.resume();
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

/** Every stage, and what the stages leave unexplained. */
function summarize(timed: readonly Timed[]): Readonly<Record<Stage | "unexplained", number>> {
  const stages = STAGE_NAMES.map((stage) => [stage, lowerQuartile(timed.map(({ stages }) => stages[stage]))] as const);
  const unexplained = timed.map(({ stages, totalMs }) => totalMs - STAGE_NAMES.reduce((sum, s) => sum + stages[s], 0));
  const summary: Record<string, number> = { ...Object.fromEntries(stages), unexplained: lowerQuartile(unexplained) };
  return summary as Record<Stage | "unexplained", number>;
}

test.for(STAGE_NAMES)(
  "a delay in %s appears there and nowhere else, and the stages explain the whole",
  DISTURBED,
  async (slowed) => {
    await using stack = new AsyncDisposableStack();
    const target = await SLOW_PARTS[slowed](slowed, stack);
    const withDelay: Timed[] = [];
    const without: Timed[] = [];
    for (let pair = 0; pair < PAIRS; pair++) {
      withDelay.push(await measure(target));
      without.push(await measure(control));
    }
    const [slow, plain] = [summarize(withDelay), summarize(without)];
    const added = Object.fromEntries(STAGE_NAMES.map((stage) => [stage, slow[stage] - plain[stage]]));
    for (const stage of STAGE_NAMES) {
      const off = Math.abs(slow[stage] - plain[stage] - (stage === slowed ? DELAY_MS : 0));
      expect(off, `${stage}: ${JSON.stringify(added)}`).toBeLessThanOrEqual(TOLERANCE_MS);
    }
    for (const { unexplained } of [slow, plain]) {
      // Rounding to microseconds may make the sum larger than the whole.
      expect(unexplained).toBeGreaterThan(-0.1);
      expect(unexplained).toBeLessThanOrEqual(TOLERANCE_MS);
    }
    expect(plain.compute).toBeGreaterThan(RUN_MS - 1);
  },
);

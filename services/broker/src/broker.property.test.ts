import { rowsOfRun } from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Auditor, check } from "./testing/auditor.ts";
import { modelOf } from "./testing/message-builders.ts";
import { type ClientRequest, type GatewayFaults, SimulatedGateway } from "./testing/simulated-gateway.ts";
import { SimulatedNetwork } from "./testing/simulated-network.ts";
import { POISON, SimulatedWorker, type WorkerFaults } from "./testing/simulated-worker.ts";

/** How long requests come and faults happen; then everything heals, and comes to rest. */
const FAULTY_MS = 1_500;
const BUDGET_MAX_MS = 3_000;
const REST_MS = BUDGET_MAX_MS + 6_000;

const MODELS = [
  { model: modelOf("fast", { maxBatchSize: 8, maxBatchElements: 28 }), rowMs: 0.2 },
  { model: modelOf("slow", { maxBatchSize: 4 }), rowMs: 15 },
  { model: modelOf("single", { maxBatchSize: 1, batching: false }), rowMs: 2 },
];

type Scenario = {
  readonly seed: number;
  readonly gateways: number;
  readonly workers: number;
  readonly slots: number;
  readonly requests: number;
  /** Requests come in bursts of about this many. */
  readonly burst: number;
  readonly queueRowsMax: number;
  readonly queueBytesMax: number;
  readonly workerBytesMax: number;
  readonly poison: number;
  readonly hedgePercent: number;
  readonly worker: WorkerFaults;
  readonly gateway: GatewayFaults;
  readonly drainAtMs: number | undefined;
};

const rarely = (max: number) => fc.constantFrom(0, 0, max / 10, max);

const scenario: fc.Arbitrary<Scenario> = fc.record({
  seed: fc.integer(),
  gateways: fc.integer({ min: 1, max: 3 }),
  workers: fc.integer({ min: 1, max: 4 }),
  slots: fc.integer({ min: 1, max: 3 }),
  requests: fc.constantFrom(3, 30, 120),
  burst: fc.integer({ min: 1, max: 20 }),
  queueRowsMax: fc.constantFrom(10, 1_000),
  queueBytesMax: fc.constantFrom(1_000, 1_000_000),
  workerBytesMax: fc.constantFrom(30, 200, 1_000_000),
  poison: rarely(0.05),
  hedgePercent: fc.constantFrom(0, 0, 10, 100),
  worker: fc.record({
    kill: rarely(0.2),
    handBack: rarely(0.2),
    nonsense: rarely(0.2),
    drain: rarely(0.1),
    freeze: rarely(0.1),
  }),
  gateway: fc.record({ cancel: rarely(0.3), repeat: rarely(0.3), lose: rarely(0.2) }),
  drainAtMs: fc.constantFrom(undefined, undefined, undefined, 300, 1_000),
});

function clientRequests(plan: Scenario, random: () => number): ClientRequest[] {
  const requests: ClientRequest[] = [];
  let atMs = 0;
  for (let i = 0; i < plan.requests; i++) {
    if (random() < 1 / plan.burst) atMs = random() * FAULTY_MS;
    const route = Math.floor(random() * MODELS.length);
    const { model } = MODELS[route]!;
    const [bucket, rowCost] = random() < 0.3 ? ["3,5", 8] : ["", 2];
    const rowsMax = rowsOfRun(model, { rows: 1, cost: rowCost });
    const rows = 1 + Math.floor(random() * random() * rowsMax);
    const bytes = random() < 0.1 ? 100 : 10;
    requests.push({
      atMs: atMs + random(),
      route,
      rows,
      cost: rows * rowCost,
      bucket,
      flags: random() < 0.1 ? 1 : 0,
      priority: Math.floor(random() * 5),
      tenant: random() < 0.5 ? "" : `tenant ${Math.floor(random() * 3)}`,
      budgetMs: random() < 0.2 ? random() * 50 : random() * BUDGET_MAX_MS,
      payload: Buffer.alloc(bytes, random() < plan.poison ? POISON : 1),
    });
  }
  return requests;
}

/** Runs a scenario to its end; throws where the broker breaks a promise. */
function simulate(plan: Scenario): Auditor {
  const auditor = new Auditor({
    rowsMax: MODELS.map(({ model }) => model.maxBatchSize),
    costMax: MODELS.map(({ model }) => model.maxBatchElements),
    hedgePercent: plan.hedgePercent,
  });
  const { queueRowsMax, queueBytesMax, hedgePercent } = plan;
  const options = {
    instance: "b",
    hedgePercent,
    epoch: "b".repeat(16),
    queueRowsMax,
    queueBytesMax,
    slotsMax: 4,
    testHoldMs: 0,
  };
  const network = new SimulatedNetwork(plan.seed, options, auditor);
  const deaths = new Map<Uint8Array, number>();
  const workers = Array.from({ length: plan.workers }, (_, i) => {
    const models = MODELS.map(({ model }) => model);
    const rowMs = MODELS.map(({ rowMs }) => rowMs * (1 + i));
    const rest = { slots: plan.slots, bytesMax: plan.workerBytesMax, faults: plan.worker };
    return new SimulatedWorker(network, { instance: `worker ${i}`, models, rowMs, ...rest }, (payload) =>
      deaths.set(payload, (deaths.get(payload) ?? 0) + 1),
    );
  });
  const requests = clientRequests(plan, network.random);
  const gateways = Array.from({ length: plan.gateways }, (_, i) => {
    const own = requests.filter((_, number) => number % plan.gateways === i);
    return new SimulatedGateway(network, { instance: `gateway ${i}`, requests: own, faults: plan.gateway });
  });
  if (plan.drainAtMs !== undefined) {
    network.clock.after(plan.drainAtMs, () => network.handle({ type: "drain", reason: "planned" }));
  }
  network.clock.runUntil(FAULTY_MS);
  for (const peer of [...workers, ...gateways]) peer.isFaulty = false;
  network.clock.runUntil(FAULTY_MS + REST_MS);
  auditor.atRest();
  checkRest(network, plan);
  // A gateway that loses its session submits anew, and its request's record with the broker starts anew.
  if (plan.gateway.lose === 0) {
    for (const [payload, count] of deaths)
      check(count <= 2, `a poisonous request of ${payload.length} bytes: ${count} deaths`);
  }
  return auditor;
}

function checkRest({ core }: SimulatedNetwork, plan: Scenario): void {
  check(core.openRequests === 0, `${core.openRequests} requests are open at rest`);
  for (const { open, backlog } of core.models.all)
    check(open === 0 && backlog.rows === 0, "a queue is not empty at rest");
  const { gateways, workers } = core.describeSessions();
  for (const { open } of gateways) check(open === 0, "a gateway has open requests at rest");
  // A broker that has come to its end does not wait for batches that nobody wants any more.
  if (plan.drainAtMs !== undefined) return check(core.state === "drained", "the broker has not come to an end");
  for (const { bytes_out: bytesOut, slots } of workers) {
    check(bytesOut === 0, "bytes are out at rest");
    for (const { out, granted, dispatched } of slots) {
      check(
        out === 0 && granted === dispatched + 2,
        `at rest: ${out} out, granted ${granted}, dispatched ${dispatched}`,
      );
    }
  }
}

test("whatever fails, every request has one answer, credit is kept, batches are right, and all comes to rest", () => {
  const endings = new Map<string, number>();
  let [hedges, spares, recalls, batches] = [0, 0, 0, 0];
  fc.assert(
    fc.property(scenario, (plan) => {
      const auditor = simulate(plan);
      hedges += auditor.hedges;
      spares += auditor.spares;
      recalls += auditor.recalls;
      batches += auditor.batches;
      for (const [how, count] of auditor.endings) endings.set(how, (endings.get(how) ?? 0) + count);
    }),
    { numRuns: 400, seed: 20_250_101 },
  );
  // Otherwise the scenarios have shown nothing.
  expect(hedges).toBeGreaterThan(100);
  expect(spares).toBeGreaterThan(10);
  expect(recalls).toBeGreaterThan(100);
  expect(spares / batches).toBeLessThan(0.05);
  for (const how of [
    "ok",
    "cancelled",
    "forgotten",
    "deadline_exceeded",
    "queue_full",
    "unavailable",
    "poison",
    "draining",
    "internal",
    "worker_lost",
  ])
    expect(endings.get(how), how).toBeGreaterThan(5);
});

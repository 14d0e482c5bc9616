import { expect, test } from "vitest";
import { BrokerDriver, requestsOf } from "../testing/broker-driver.ts";
import { modelOf } from "../testing/message-builders.ts";
import { randomFrom } from "../testing/simulated-network.ts";
import { VirtualPool, type VirtualRequest, type VirtualWorker } from "../testing/virtual-pool.ts";

/** The device of the simulator's table (bench/simulator/simulator.test.ts): 4 + 0.25 n ms, 20 ms a request, eight slots; no policy exceeds 25.6 requests/ms. */
const LIMIT_RATE = 25.6;
const BUDGET_MS = 20;
const FOR_MS = 2_500;
const runMs = (rows: number): number => 4 + 0.25 * rows;

type RunMs = VirtualWorker["runMs"];

/** The share of the requests that are answered in time, of those after the first half second, and the slowness that was learned. */
function inTime(
  rate: number,
  runOf: (worker: number) => RunMs,
): { readonly share: number; readonly slowness: number[]; readonly predictedMs: number } {
  const random = randomFrom(1);
  const curves = [[1, 64].map((rows) => [rows, runMs(rows)] as const)];
  const pool = new VirtualPool({
    models: [modelOf("m", { maxBatchSize: 64 })],
    workers: Array.from({ length: 8 }, (_, i) => ({ slots: 1, runMs: runOf(i), curves })),
    latencyMs: 0.1,
    timerLateMs: () => 0.5,
  });
  const requests: VirtualRequest[] = [];
  for (let atMs = 1; atMs < FOR_MS; atMs += -Math.log(1 - random()) / rate)
    requests.push(pool.submit({ atMs, model: 0, rows: 1, budgetMs: BUDGET_MS }));
  pool.run(FOR_MS + 100);
  const counted = requests.filter(({ atMs }) => atMs > 500);
  const good = counted.filter(({ isOk, atMs, endMs }) => isOk && endMs - atMs <= BUDGET_MS);
  const slowness = [...pool.core.sessions.worker.values()].map((worker) => worker.slowness);
  const predictedMs = pool.core.models.find("m")!.curve("", "kind").predict(24)!.q50Ms;
  return { share: good.length / counted.length, slowness, predictedMs };
}

test("with one of eight workers at half speed 99 % are in time at 65 % of what eight whole ones could do", () => {
  const { share, slowness, predictedMs } = inTime(
    0.65 * LIMIT_RATE,
    (worker) => (_model, rows) => (worker === 0 ? 2 : 1) * runMs(rows),
  );
  expect(share).toBeGreaterThan(0.99);
  // The curve is that of the others.
  expect(predictedMs / runMs(24)).toBeCloseTo(1, 1);
  // It is asked so rarely that it is not known any better.
  expect(slowness[0]).toBeGreaterThan(1.3);
  expect(slowness.slice(1)).toEqual([1, 1, 1, 1, 1, 1, 1]);
});

test("where each worker stops for 50 ms every 2 s, only what is at it then is late", () => {
  // Two batches of about 30 rows, four times a second: 1.2 % of the requests. The curve learns nothing from it.
  const { share, slowness } = inTime(0.75 * LIMIT_RATE, (worker) => (_model, rows, startMs) => {
    const phaseMs = (startMs + 250 * worker) % 2_000;
    const isStopped = phaseMs < 50 || phaseMs + runMs(rows) > 2_000;
    return runMs(rows) + (isStopped ? Math.min(50, (50 - phaseMs + 2_000) % 2_000) : 0);
  });
  expect(share).toBeGreaterThan(0.98);
  expect(slowness).toEqual([1, 1, 1, 1, 1, 1, 1, 1]);
});

/** Two workers of one kind, 10 ms a run, of which the second has turned out to take 2.5 times as long. */
function unevenPair() {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  const given = { models: [modelOf("m", { maxHoldMs: 0 })], curveMs: [[8, 10]] as [number, number][] };
  const [fast, slow] = [driver.worker("fast", given), driver.worker("slow", given)];
  [...driver.core.sessions.worker.values()][1]!.slowness = 2.5;
  return { driver, gateway, fast, slow };
}

test("a batch goes to the slot that would be done with it first, even if it has to wait for it", () => {
  const { driver, gateway, fast, slow } = unevenPair();
  gateway.submit([1]);
  expect(requestsOf(fast.jobs())).toEqual([[1]]);
  driver.advance(3);
  // 7 ms until the fast one is free, and 10 there; 25 at the slow one, which is idle.
  gateway.submit([2]);
  expect(slow.jobs()).toEqual([]);
  driver.advance(7);
  expect(requestsOf(fast.jobs())).toEqual([[2]]);
  // Two are before it there now: the slow one would be done first.
  gateway.submit([3]);
  expect(requestsOf(slow.jobs())).toEqual([[3]]);
});

test("a request is not given up because the slot that is free is too slow, while a faster one is free in time", () => {
  const { driver, gateway, fast, slow } = unevenPair();
  gateway.submit([1]);
  const [first] = fast.jobs();
  driver.advance(10);
  gateway.submit([2]);
  const [second] = fast.jobs();
  expect(requestsOf([first!, second!])).toEqual([[1], [2]]);
  gateway.submit([3], { budgetUs: 23_000 });
  expect([fast.jobs(), slow.jobs(), gateway.answers()]).toEqual([[], [], []]);
  fast.answer(first!, 10);
  driver.advance(10);
  expect(requestsOf(fast.jobs())).toEqual([[3]]);
});

test("a single stall is not learned; what is slow time and again is", () => {
  const driver = new BrokerDriver();
  const [gateway, worker] = [driver.gateway(), driver.worker("w", { curveMs: [[1, 10]] })];
  const run = (ms: number): void => {
    gateway.submit([1], { budgetUs: 10_000_000 });
    const [job] = worker.jobs();
    driver.advance(ms);
    worker.answer(job!, ms);
    gateway.answers();
  };
  const predicted = (): number => driver.core.models.find("m")!.curve("", "kind").predict(1)!.q95Ms;
  for (let i = 0; i < 64; i++) run(10);
  run(500);
  expect(predicted()).toBeCloseTo(10, 3);
  for (let i = 0; i < 64; i++) run(50);
  expect(predicted()).toBeCloseTo(50, 3);
});

test("a run that is said to have taken no time teaches nothing, of its worker or the others", () => {
  const driver = new BrokerDriver();
  const gateway = driver.gateway();
  const [odd, other] = [driver.worker("odd"), driver.worker("other")];
  gateway.submit([1]);
  driver.advance(1);
  odd.answer(odd.jobs()[0]!, 0);
  gateway.submit([2]);
  driver.advance(10);
  other.answer(other.jobs()[0]!, 10);
  for (const { pace, slowness } of driver.core.sessions.worker.values()) expect([pace, slowness]).toEqual([1, 1]);
});

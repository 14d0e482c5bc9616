import { expect, test } from "vitest";
import { modelOf } from "./testing/message-builders.ts";
import { randomFrom } from "./testing/simulated-network.ts";
import { VirtualPool, type VirtualRequest } from "./testing/virtual-pool.ts";

const [ROWS_MAX, WARM_MS, FOR_MS] = [32, 500, 2_500];
const timeOf = (rows: number): number => 4 + 0.25 * rows;

type Pool = {
  /** How many times as long each worker takes. */
  readonly slow: readonly number[];
  /** Whether they are of different kinds, each with a curve of its own; else the broker has to find out who is slow. */
  readonly areKinds: boolean;
  readonly budgetMs: number;
};

/** Requests a ms that the workers could answer together, each in the largest batches that are in time. */
function capacityOf({ slow, budgetMs }: Pool): number {
  return slow.reduce((sum, one) => {
    const rows = Math.min(ROWS_MAX, Math.floor((budgetMs / one - timeOf(0)) / (timeOf(1) - timeOf(0))));
    return sum + rows / (one * timeOf(rows));
  }, 0);
}

/** The whole broker, offered so many times what its workers can do: the share of it that is answered in time, and how busy each worker is. */
function simulate(pool: Pool, load: number): { readonly inTime: number; readonly busy: readonly number[] } {
  const { slow, areKinds, budgetMs } = pool;
  const random = randomFrom(1);
  const busyMs = slow.map(() => 0);
  const virtual = new VirtualPool({
    models: [modelOf("m", { maxBatchSize: ROWS_MAX })],
    workers: slow.map((one, i) => ({
      slots: 1,
      fingerprint: areKinds ? `${one} times` : "kind",
      runMs: (_model, rows, startMs) => {
        const ms = one * timeOf(rows);
        if (startMs > WARM_MS) busyMs[i]! += ms;
        return ms;
      },
      curves: [[1, 2, 4, 8, 16, 32].map((rows) => [rows, (areKinds ? one : 1) * timeOf(rows)] as const)],
    })),
    latencyMs: 0.1,
    timerLateMs: () => 0.5,
  });
  const rate = load * capacityOf(pool);
  const requests: VirtualRequest[] = [];
  for (let atMs = 1; atMs < FOR_MS; atMs += -Math.log(1 - random()) / rate)
    requests.push(virtual.submit({ atMs, model: 0, rows: 1, budgetMs }));
  virtual.run(FOR_MS + 200);
  const counted = requests.filter(({ atMs }) => atMs > WARM_MS);
  const inTime = counted.filter(({ isOk, atMs, endMs }) => isOk && endMs - atMs <= budgetMs).length;
  return { inTime: inTime / counted.length, busy: busyMs.map((ms) => ms / (FOR_MS - WARM_MS)) };
}

test.for(
  [
    { slow: [2, 1, 1, 1], budgetMs: 60, atLeast: 0.97 },
    { slow: [2, 2, 2, 1], budgetMs: 60, atLeast: 0.97 },
    { slow: [3, 1, 1, 1], budgetMs: 60, atLeast: 0.97 },
    // A slow worker's largest batch takes all of the time: what waits at all is late with it.
    { slow: [2, 1, 1, 1, 1, 1, 1, 1], budgetMs: 20, atLeast: 0.95 },
    { slow: [2, 1, 1, 1], budgetMs: 20, atLeast: 0.9 },
    { slow: [2, 2, 1, 1], budgetMs: 20, atLeast: 0.85 },
  ].flatMap((one) => [true, false].map((areKinds) => ({ ...one, areKinds }))),
)("in overload the slow ones of $slow work as well: $budgetMs ms, kinds $areKinds", ({ atLeast, ...pool }) => {
  const load = 1.5;
  const { inTime, busy } = simulate(pool, load);
  expect(load * inTime).toBeGreaterThan(atLeast);
  expect(Math.min(...busy)).toBeGreaterThan(0.85);
});

test("while the fast ones keep up a slow worker has next to nothing to do, and all is in time", () => {
  for (const areKinds of [true, false]) {
    const { inTime, busy } = simulate({ slow: [4, 1, 1, 1], areKinds, budgetMs: 60 }, 0.5);
    expect(inTime).toBe(1);
    expect(busy[0]).toBeLessThan(0.1);
  }
});

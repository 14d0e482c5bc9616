import { expect, onTestFailed, test } from "vitest";
import { readMetrics, sumOf } from "./support/metrics-text.ts";
import { writeSimulatedModel } from "./support/simulated-model.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

/** The first fills the account from which hedges are paid: 10 in 100 batches. */
const [CALM, STALLS_MAX, WON] = [40, 15, 2];

test("a worker that stands still is no answer's delay: it comes from the other one, right and once, while the first still stands", async () => {
  await using folder = await temporaryFolder();
  await writeSimulatedModel(folder.path, { name: "device", runMs: 100, rowMs: 1, maxBatchSize: 8 });
  const args = ["--threads", "1", "--hedge-percent", "10"];
  await using system = await DevSystem.start({ models: folder.path, workers: 2, args });
  onTestFailed(() => console.error(system.process.log.tail(200)));
  await system.awaitWorkers(2);
  const hedges = async (event: "sent" | "won"): Promise<number> =>
    sumOf(await readMetrics(system.addresses["broker-1"]?.["admin"] ?? ""), "millrace_broker_hedges_total", { event });
  const ask = async (number: number): Promise<string> => {
    const inputs = [{ name: "x", datatype: "FP32", shape: [1, 2], data: [number, 1] }];
    const response = await fetch(`${system.url}/v2/models/device/infer`, {
      method: "POST",
      body: JSON.stringify({ inputs }),
    });
    const text = await response.text();
    expect({ status: response.status, text }).toMatchObject({ status: 200 });
    const { outputs } = JSON.parse(text) as { outputs: { data: number[] }[] };
    // As the device is documented to answer (docs/model-repository.md).
    expect(outputs[0]!.data).toEqual([2 - 5 * number, 4 - 3 * number]);
    return response.headers.get("server-timing") ?? "";
  };
  for (let i = 0; i < CALM; i++) await ask(i);
  const pid = system.pidOf("worker-1");
  let stalls = 0;
  for (let won = 0; won < WON && stalls < STALLS_MAX; stalls++) {
    process.kill(pid, "SIGSTOP");
    try {
      expect(await ask(1_000 + stalls)).toContain("worker-2");
    } finally {
      process.kill(pid, "SIGCONT");
    }
    // What worker-1 has had is answered or called off: it takes part again.
    for (let i = 0; i < 10; i++) await ask(i);
    won = await hedges("won");
  }
  expect(await hedges("won")).toBeGreaterThanOrEqual(WON);
  expect(await hedges("sent")).toBeLessThanOrEqual(0.1 * (CALM + 11 * stalls) + 1);
  await system.stop();
});

import { expect, onTestFailed, test } from "vitest";
import { type Answer, post } from "./support/inference-client.ts";
import { readMetrics, sumOf } from "./support/metrics-text.ts";
import { readStages } from "./support/server-timing-reader.ts";
import { simulatedRequest, writeSimulatedModel } from "./support/simulated-model.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

const RUN_MS = 1_500;

/** The time from the gateway to the run, in ms. */
function waitedMs({ headers }: Answer): number {
  const stages = readStages(headers.get("server-timing") ?? "");
  return stages.broker_queue + stages.batch_wait;
}

test("a model with two instances runs twice at one time, beside models with one: a copy of each in its slots alone", async () => {
  await using folder = await temporaryFolder();
  const model = { runMs: RUN_MS, maxBatchSize: 1 };
  await writeSimulatedModel(folder.path, { ...model, name: "pair", instances: 2 });
  await writeSimulatedModel(folder.path, { ...model, name: "single" });
  await writeSimulatedModel(folder.path, { ...model, name: "single-2" });
  await using system = await DevSystem.start({ models: folder.path, readyTimeoutMs: 60_000 });
  onTestFailed(() => console.error(system.process.log.tail(100)));
  const ask = (name: string): Promise<Answer> => post(`${system.url}/v2/models/${name}/infer`, simulatedRequest(1));

  const worker = await readMetrics(system.addresses["worker-1"]!["admin"]!);
  expect(sumOf(worker, "millrace_worker_slots")).toBe(2);
  const copies = worker
    .filter(({ name }) => name === "millrace_worker_model_memory_bytes")
    .map(({ labels }) => `${labels["model"]} ${labels["slot"]}`);
  expect(copies).toEqual(["pair 0", "pair 1", "single 0", "single-2 1"]);
  const broker = await readMetrics(system.addresses["broker-1"]!["admin"]!);
  for (const [name, slots] of Object.entries({ pair: 2, single: 1, "single-2": 1 }))
    expect(sumOf(broker, "millrace_broker_model_slots", { model: name })).toBe(slots);

  const lone = (await ask("pair")).text;
  for (const [name, ofTwo] of [
    ["pair", "both at once"],
    ["single", "one after the other"],
  ] as const) {
    const answers = await Promise.all([ask(name), ask(name)]);
    for (const { status, text } of answers) {
      expect(status).toBe(200);
      expect(outputsOf(text)).toEqual(outputsOf(lone));
    }
    const [first, second] = answers.map(waitedMs).sort((a, b) => a - b);
    expect(first).toBeLessThan(RUN_MS / 2);
    expect(second! < RUN_MS / 2 ? "both at once" : "one after the other").toBe(ofTwo);
  }
  // Each has a slot of its own.
  const apart = await Promise.all([ask("single"), ask("single-2")]);
  for (const answer of apart) expect(waitedMs(answer)).toBeLessThan(RUN_MS / 2);
});

function outputsOf(text: string): unknown {
  return (JSON.parse(text) as { outputs: unknown }).outputs;
}

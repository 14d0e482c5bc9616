import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger } from "@millrace/runtime";
import { expect, onTestFinished, test } from "vitest";
import { encodeOnnxModel } from "../../../tests/support/onnx-model.ts";
import { CurveBook } from "./curve-book.ts";
import { CurveFolder } from "./curve-folder.ts";
import { type Loading, loadModels } from "./model-loader.ts";
import { scanRepository } from "./repository.ts";
import { startRunnerThread } from "./runner-host.ts";
import type { LoadRequest } from "./runner-message.ts";
import { planSlots } from "./slot-plan.ts";

const BIG_VALUES = 4_000_000;

/** A folder of two models, the first of 16 MB, loaded into two slots. `measured`: what a copy is said to have taken. */
async function loadTwo(
  bytesMax: number,
  given: { readonly measured?: number; readonly endSecond?: boolean; readonly instances?: number } = {},
) {
  const dir = await mkdtemp(join(tmpdir(), "millrace-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  for (const [name, values] of [
    ["big", BIG_VALUES],
    ["small", 4],
  ] as const) {
    const data = new Float32Array(values).fill(1);
    const model = encodeOnnxModel({
      name,
      inputs: [{ name: "x", datatype: "FP32", shape: ["batch", 1] }],
      outputs: [{ name: "y", datatype: "FP32", shape: ["batch", values] }],
      nodes: [{ op: "MatMul", inputs: ["x", "w"], outputs: ["y"] }],
      initializers: [{ name: "w", datatype: "FP32", shape: [1, values], data }],
    });
    await mkdir(join(dir, name));
    await writeFile(join(dir, name, "model.onnx"), model);
    const own = given.instances === undefined ? "" : `\ninstances: ${given.instances}`;
    await writeFile(join(dir, name, "model.yaml"), `max_batch_size: 1${own}`);
  }
  const logger = createLogger({ role: "worker", name: "w", level: "silent" });
  const threads = [0, 1].map(() => startRunnerThread({ threads: 1 }));
  onTestFinished(async () => void (await Promise.all(threads.map((thread) => thread.close()))));
  const loadings: Loading[] = [];
  if (given.endSecond === true) await threads[1]!.close();
  let loads = 0;
  const slots = threads.map((thread) => ({
    load: async (request: LoadRequest) => {
      loads++;
      const loaded = await thread.load(request);
      return { ...loaded, memoryBytes: given.measured ?? loaded.memoryBytes };
    },
    unload: (model: number) => thread.unload(model),
  }));
  const found = await scanRepository(dir);
  const models = await loadModels({
    found,
    slotsOf: planSlots(found, 2).slotsOf,
    threads: slots,
    threadsPerSlot: 1,
    processor: "p",
    bytesMax,
    curves: new CurveBook(),
    folder: new CurveFolder("", logger),
    logger,
    onLoaded: (_, loading) => loadings.push(loading),
  });
  return { models, loadings, threads, loads };
}

test("each slot has a copy of its own, and each copy is counted", async () => {
  const { models, loadings, threads } = await loadTwo(0);
  expect(models.map(({ model }) => [model.name, model.state])).toEqual([
    ["big", "ready"],
    ["small", "ready"],
  ]);
  const { copies } = loadings[0]!;
  expect(copies.map(({ slot }) => slot)).toEqual([0, 1]);
  expect(models.map(({ slots }) => slots)).toEqual([[], []]);
  for (const { bytes } of copies) expect(bytes).toBeGreaterThanOrEqual(4 * BIG_VALUES);
  expect(models[0]!.memoryBytes).toBe(copies[0]!.bytes + copies[1]!.bytes);
  for (const thread of threads) {
    const [output] = (await thread.run({ model: 1, inputs: someInputs() })).outputs;
    expect(Array.from(new Float32Array(output!.data))).toEqual([3, 3, 3, 3]);
  }
});

test("a model with one instance has one copy, in the slot that has least, and that is what counts", async () => {
  const { models, loadings, threads, loads } = await loadTwo(10_000, { measured: 40, instances: 1 });
  expect(models).toMatchObject([
    { memoryBytes: 0, model: { state: "failed" } },
    { memoryBytes: 40, slots: [1], model: { state: "ready" } },
  ]);
  expect(loadings[1]!.copies).toEqual([{ slot: 1, bytes: 40 }]);
  expect(loads).toBe(1);
  await expect(threads[0]!.run({ model: 1, inputs: someInputs() })).rejects.toMatchObject({ code: "internal" });
  const [output] = (await threads[1]!.run({ model: 1, inputs: someInputs() })).outputs;
  expect(Array.from(new Float32Array(output!.data))).toEqual([3, 3, 3, 3]);
});

const failure = { memoryBytes: 0, model: { name: "big", state: "failed" } };
const someInputs = () => [{ name: "x", datatype: "FP32" as const, shape: [1, 1], data: Float32Array.of(3).buffer }];

test("a model whose file says that its copies do not fit is refused before it is loaded", async () => {
  // One copy would fit.
  const { models, loadings, loads } = await loadTwo(2 * 4 * BIG_VALUES - 1, { measured: 10 });
  expect(models).toMatchObject([failure, { memoryBytes: 20, model: { name: "small", state: "ready" } }]);
  expect(models[0]!.model.reason).toMatch(
    /^its copies, one a slot, take \d+ bytes at least; other models have 0 of the 31999999 that --model-bytes-max allows$/,
  );
  expect(loadings[0]!.copies).toEqual([]);
  expect(loads).toBe(2);
});

test("copies that turn out not to fit once they are loaded are unloaded; models before it stay, and count", async () => {
  const { models, threads } = await loadTwo(100_000_000, { measured: 30_000_000 });
  expect(models).toMatchObject([
    { memoryBytes: 60_000_000, model: { name: "big", state: "ready" } },
    { memoryBytes: 0, model: { name: "small", state: "failed" } },
  ]);
  expect(models[1]!.model.reason).toMatch(/take 60000000 bytes at least; other models have 60000000 of the 100000000/);
  for (const thread of threads)
    await expect(thread.run({ model: 1, inputs: someInputs() })).rejects.toMatchObject({ code: "internal" });
});

test("a model that cannot be had in one slot is left in none", async () => {
  const { models, threads } = await loadTwo(0, { endSecond: true });
  expect(models[0]).toMatchObject(failure);
  await expect(threads[0]!.run({ model: 0, inputs: someInputs() })).rejects.toMatchObject({ code: "internal" });
});

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeStrings, FREE, type TensorSpec } from "@millrace/protocol";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeOnnxModel } from "../../../tests/support/onnx-model.ts";
import { createRunner, HostedModel } from "./hosted-model.ts";
import type { BatchTensor, ModelSource } from "./runner.ts";

/** What every runner must do, whatever is behind it. The model: [rows, 3] floats to [rows, 2], and a text that passes through. */
const INPUTS: readonly TensorSpec[] = [
  { name: "x", datatype: "FP32", shape: [FREE, 3] },
  { name: "text", datatype: "BYTES", shape: [FREE] },
];
const OUTPUTS: readonly TensorSpec[] = [
  { name: "y", datatype: "FP32", shape: [FREE, 2] },
  { name: "same", datatype: "BYTES", shape: [FREE] },
];

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "millrace-"));
  const open = ["batch", 3] as const;
  await writeFile(
    join(dir, "model.onnx"),
    encodeOnnxModel({
      name: "linear",
      inputs: [
        { name: "x", datatype: "FP32", shape: open },
        { name: "text", datatype: "BYTES", shape: ["batch"] },
      ],
      outputs: [
        { name: "y", datatype: "FP32", shape: ["batch", 2] },
        { name: "same", datatype: "BYTES", shape: ["batch"] },
      ],
      nodes: [
        { op: "MatMul", inputs: ["x", "weights"], outputs: ["y"] },
        { op: "Identity", inputs: ["text"], outputs: ["same"] },
      ],
      initializers: [{ name: "weights", datatype: "FP32", shape: [3, 2], data: [1, 2, 3, 4, 5, 6] }],
    }),
  );
});
afterAll(() => rm(dir, { recursive: true }));

const sources: Readonly<Record<string, () => ModelSource>> = {
  onnxruntime: () => ({ platform: "onnxruntime_onnx", path: join(dir, "model.onnx") }),
  simulated: () => ({
    platform: "simulated",
    device: { baseMs: 0.2, rowMs: 0.01, inputs: INPUTS, outputs: OUTPUTS },
  }),
};

async function load(source: ModelSource, maxBatchSize = 8): Promise<HostedModel> {
  return HostedModel.load(await createRunner(source, 1), { maxBatchSize, batching: undefined });
}

function batchOf(rows: readonly (readonly number[])[], texts: readonly string[]): BatchTensor[] {
  const text = new Uint8Array(encodeStrings(texts));
  return [
    { name: "x", datatype: "FP32", shape: [rows.length, 3], data: Float32Array.from(rows.flat()).buffer },
    { name: "text", datatype: "BYTES", shape: [texts.length], data: text.buffer },
  ];
}

function floats(tensor: BatchTensor | undefined): number[] {
  return Array.from(new Float32Array(tensor!.data));
}

describe.each(Object.keys(sources))("a runner on %s", (name) => {
  const source = () => sources[name]!();

  test("tells what the model is, that it batches, and how long it takes", async () => {
    const { loaded } = await load(source());
    expect(loaded).toMatchObject({
      inputs: INPUTS,
      outputs: OUTPUTS,
      batching: true,
      batchingReason: "",
      maxBatchSize: 8,
    });
    expect(loaded.warmUpRuns.map(({ rows }) => rows)).toEqual([1, 2, 8]);
    expect(loaded.warmUpRuns.flatMap(({ timesMs }) => timesMs).every((timeMs) => timeMs > 0)).toBe(true);
    expect(loaded.memoryBytes).toBeGreaterThanOrEqual(0);
  });

  test("gives each row of a batch what it gives the row alone", async () => {
    const model = await load(source());
    const rows = [
      [1, 0, 0],
      [0, 10, 0],
      [0.5, -1, 100],
    ];
    const texts = ["a", "", "größer 🦀"];
    const { outputs } = await model.run(batchOf(rows, texts));
    expect(outputs).toMatchObject([
      { name: "y", datatype: "FP32", shape: [3, 2] },
      { name: "same", datatype: "BYTES", shape: [3] },
    ]);
    expect(Buffer.from(outputs[1]!.data)).toEqual(encodeStrings(texts));
    for (const [i, row] of rows.entries()) {
      const alone = await model.run(batchOf([row], [texts[i]!]));
      expect(floats(alone.outputs[0])).toEqual(floats(outputs[0]).slice(2 * i, 2 * i + 2));
    }
    expect(new Set(floats(outputs[0])).size).toBe(6);
  });

  test("measures the run on the clock of all threads", async () => {
    const model = await load(source());
    const before = process.hrtime.bigint();
    const { startedNs, computeMs } = await model.run(batchOf([[1, 2, 3]], ["a"]));
    expect(startedNs).toBeGreaterThanOrEqual(before);
    const ended = process.hrtime.bigint();
    expect(Number(ended - startedNs) / 1e6).toBeGreaterThanOrEqual(computeMs);
  });

  test("hands out buffers that can be transferred and are not used again", async () => {
    const model = await load(source());
    const { outputs } = await model.run(batchOf([[1, 2, 3]], ["a"]));
    const first = floats(outputs[0]);
    const taken = outputs.map(({ data }) => data.transfer());
    new Uint8Array(taken[0]!).fill(0);
    const { outputs: again } = await model.run(batchOf([[1, 2, 3]], ["a"]));
    expect(floats(again[0])).toEqual(first);
  });

  test.each<[string, BatchTensor[], string]>([
    ["no rows", batchOf([], []), "invalid_shape"],
    [
      "more rows than the largest batch",
      batchOf(
        Array.from({ length: 9 }, () => [1, 2, 3]),
        Array(9).fill(""),
      ),
      "invalid_shape",
    ],
    ["rows that differ between inputs", batchOf([[1, 2, 3]], ["a", "b"]), "invalid_shape"],
    ["an input missing", batchOf([[1, 2, 3]], ["a"]).slice(0, 1), "invalid_input"],
    ["inputs in another order", batchOf([[1, 2, 3]], ["a"]).toReversed(), "invalid_input"],
    [
      "another datatype",
      [{ ...batchOf([[1, 2, 3]], [])[0]!, datatype: "INT32" }, batchOf([], ["a"])[1]!],
      "invalid_datatype",
    ],
    ["another width", [{ ...batchOf([[1, 2, 3]], [])[0]!, shape: [1, 2] }, batchOf([], ["a"])[1]!], "invalid_shape"],
    ["data cut short", [{ ...batchOf([], [])[0]!, shape: [1, 3] }, batchOf([], ["a"])[1]!], "invalid_shape"],
    ["text cut short", [batchOf([[1, 2, 3]], [])[0]!, { ...batchOf([], [])[1]!, shape: [1] }], "invalid_shape"],
  ])("refuses %s, and still runs", async (_, inputs, code) => {
    const model = await load(source());
    await expect(model.run(inputs)).rejects.toMatchObject({ name: "RunnerError", code });
    expect((await model.run(batchOf([[1, 2, 3]], ["a"]))).outputs).toHaveLength(2);
  });

  test("can be unloaded, and loaded again", async () => {
    const model = await load(source());
    await model.unload();
    expect((await load(source())).loaded.batching).toBe(true);
  });

  test("takes a largest batch of one row", async () => {
    const { loaded } = await load(source(), 1);
    expect(loaded).toMatchObject({ batching: true, maxBatchSize: 1, warmUpRuns: [{ rows: 1 }] });
  });
});

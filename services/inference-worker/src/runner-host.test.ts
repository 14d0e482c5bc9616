import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { FREE, type TensorSpec } from "@millrace/protocol";
import { expect, onTestFinished, test } from "vitest";
import { encodeOnnxModel } from "../../../tests/support/onnx-model.ts";
import type { BatchTensor, ModelSource } from "./runner.ts";
import {
  type RunnerThread,
  type RunnerThreadExit,
  type RunnerThreadOptions,
  startRunnerThread,
} from "./runner-host.ts";

const X: TensorSpec = { name: "x", datatype: "FP32", shape: [FREE] };
const LIMITS = { maxBatchSize: 4, batching: undefined };

function simulated(baseMs: number): ModelSource {
  const outputs: TensorSpec[] = [{ name: "y", datatype: "FP32", shape: [FREE] }];
  return { platform: "simulated", device: { baseMs, rowMs: 0, inputs: [X], outputs } };
}

function start(options: Partial<RunnerThreadOptions> = {}): RunnerThread {
  const thread = startRunnerThread({ threads: 1, ...options });
  onTestFinished(() => thread.close());
  return thread;
}

async function tempDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "millrace-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  return dir;
}

function rowsOf(...values: readonly number[]): BatchTensor[] {
  return [{ ...X, shape: [values.length], data: Float32Array.from(values).buffer }];
}

const floats = (tensor: BatchTensor | undefined) => Array.from(new Float32Array(tensor!.data));

test("loads and runs in a thread of its own; buffers cross without a copy", async () => {
  const thread = start();
  expect(await thread.load({ model: 7, source: simulated(0.1), limits: LIMITS })).toMatchObject({ batching: true });
  const inputs = rowsOf(1, 2);
  const before = process.hrtime.bigint();
  const ran = await thread.run({ model: 7, inputs });
  expect(ran.outputs).toMatchObject([{ name: "y", datatype: "FP32", shape: [2] }]);
  expect(floats(ran.outputs[0])).toEqual([-5, -10]);
  expect(inputs[0]!.data.detached).toBe(true);
  expect(ran.startedNs).toBeGreaterThan(before);
  expect(ran.startedNs).toBeLessThan(process.hrtime.bigint());
});

test("several models live in one thread, onnxruntime's beside simulated ones; an unloaded one is gone", async () => {
  const dir = await tempDir();
  const path = join(dir, "double.onnx");
  const value = { datatype: "FP32", shape: ["batch"] } as const;
  await writeFile(
    path,
    encodeOnnxModel({
      name: "double",
      inputs: [{ name: "x", ...value }],
      outputs: [{ name: "y", ...value }],
      nodes: [{ op: "Add", inputs: ["x", "x"], outputs: ["y"] }],
    }),
  );
  const thread = start();
  await thread.load({ model: 0, source: { platform: "onnxruntime_onnx", path }, limits: LIMITS });
  await thread.load({ model: 1, source: simulated(0), limits: LIMITS });
  expect(floats((await thread.run({ model: 0, inputs: rowsOf(1, 2) })).outputs[0])).toEqual([2, 4]);
  expect(floats((await thread.run({ model: 1, inputs: rowsOf(1, 2) })).outputs[0])).toEqual([-5, -10]);
  await thread.unload(0);
  await thread.unload(0);
  await expect(thread.run({ model: 0, inputs: rowsOf(1) })).rejects.toMatchObject({ code: "internal" });
  expect(floats((await thread.run({ model: 1, inputs: rowsOf(1) })).outputs[0])).toEqual([-5]);
});

test("a run that is handed over ahead begins behind the one that is on; recalled or too late it is not begun", async () => {
  const thread = start();
  await thread.load({ model: 0, source: simulated(40), limits: { ...LIMITS, batching: true } });
  const now = process.hrtime.bigint();
  const first = thread.run({ model: 0, inputs: rowsOf(1) });
  const inputs = rowsOf(2);
  const second = thread.runAhead({ model: 0, inputs }, now + 60_000_000_000n);
  expect(inputs[0]!.data.detached).toBe(true);
  const [one, two] = [await first, await second.ran];
  expect(floats(two?.outputs[0])).toEqual([-10]);
  expect(Number(two!.startedNs - one.startedNs) / 1e6).toBeGreaterThanOrEqual(40);

  const third = thread.run({ model: 0, inputs: rowsOf(1) });
  const recalled = thread.runAhead({ model: 0, inputs: rowsOf(2) }, now + 60_000_000_000n);
  const late = thread.runAhead({ model: 0, inputs: rowsOf(3) }, process.hrtime.bigint() + 20_000_000n);
  const another = thread.runAhead({ model: 0, inputs: rowsOf(4) }, now + 60_000_000_000n);
  recalled.recall();
  another.recall();
  // It has begun, and ended: too late to be called back, and no other's place is taken.
  second.recall();
  await third;
  expect([await recalled.ran, await another.ran]).toEqual([undefined, undefined]);
  expect(await late.ran).toBeUndefined();
  expect(floats((await thread.run({ model: 0, inputs: rowsOf(1) })).outputs[0])).toEqual([-5]);
});

test("runs one after the other, in the order of the calls", async () => {
  const thread = start();
  await thread.load({ model: 0, source: simulated(5), limits: LIMITS });
  const runs = await Promise.all([1, 2, 3].map((value) => thread.run({ model: 0, inputs: rowsOf(value) })));
  expect(runs.map(({ outputs }) => floats(outputs[0]))).toEqual([[-5], [-10], [-15]]);
  for (const [i, { startedNs }] of runs.entries()) {
    const previous = runs[i - 1];
    if (previous === undefined) continue;
    expect(Number(startedNs - previous.startedNs) / 1e6).toBeGreaterThanOrEqual(previous.computeMs - 0.1);
  }
});

test("a model that cannot be loaded and a run that fails harm nothing else", async () => {
  const thread = start();
  await thread.load({ model: 0, source: simulated(0), limits: LIMITS });
  const missing: ModelSource = { platform: "onnxruntime_onnx", path: "/nowhere/model.onnx" };
  const refused = { name: "RunnerError", code: "model_not_ready", message: expect.stringMatching(/no such file/) };
  await expect(thread.load({ model: 1, source: missing, limits: LIMITS })).rejects.toMatchObject(refused);
  await expect(thread.run({ model: 0, inputs: [] })).rejects.toMatchObject({
    name: "RunnerError",
    code: "invalid_shape",
  });
  expect(floats((await thread.run({ model: 0, inputs: rowsOf(1) })).outputs[0])).toEqual([-5]);
});

test("an input that was handed over already is refused here", async () => {
  const thread = start();
  await thread.load({ model: 0, source: simulated(0), limits: LIMITS });
  const inputs = rowsOf(1);
  await thread.run({ model: 0, inputs });
  await expect(thread.run({ model: 0, inputs })).rejects.toMatchObject({ code: "internal" });
});

test("the delay for tests is part of the compute time", async () => {
  const thread = start({ computeDelayMs: 30 });
  await thread.load({ model: 0, source: simulated(0), limits: LIMITS });
  expect((await thread.run({ model: 0, inputs: rowsOf(1) })).computeMs).toBeGreaterThanOrEqual(30);
});

test("close finishes what was asked for; then everything is refused", async () => {
  const thread = start();
  const exits: RunnerThreadExit[] = [];
  thread.onExit((exit) => exits.push(exit));
  await thread.load({ model: 0, source: simulated(5), limits: LIMITS });
  const running = thread.run({ model: 0, inputs: rowsOf(1) });
  const closed = thread.close();
  expect(thread.state).toBe("closing");
  await expect(thread.run({ model: 0, inputs: rowsOf(1) })).rejects.toThrow("the runner thread is closing");
  expect(floats((await running).outputs[0])).toEqual([-5]);
  await closed;
  expect(thread.state).toBe("ended");
  expect(exits).toEqual([{ code: 0, error: undefined }]);
  await expect(thread.run({ model: 0, inputs: rowsOf(1) })).rejects.toThrow("the runner thread is ended");
  await thread.close();
});

test.each([
  [
    "throws",
    "throw new Error('out of luck')",
    { code: 1, error: { message: "out of luck" } },
    /with an error: out of luck/,
  ],
  ["exits", "process.exit(3)", { code: 3, error: undefined }, /with code 3/],
])("a thread that %s fails what is pending, and another can be started", async (...[, statement, exit, message]) => {
  const dir = await tempDir();
  const path = join(dir, "thread.mjs");
  await writeFile(
    path,
    `import { parentPort } from "node:worker_threads"; parentPort.on("message", () => { ${statement}; });`,
  );
  const thread = start({ entry: pathToFileURL(path) });
  const exited = new Promise((resolve) => thread.onExit(resolve));
  const pending = [1, 2].map(() => thread.run({ model: 0, inputs: rowsOf(1) }));
  const refused = { code: "internal", message: expect.stringMatching(message) };
  await Promise.all(pending.map((run) => expect(run).rejects.toMatchObject(refused)));
  expect(await exited).toMatchObject(exit);
  expect(thread.state).toBe("ended");
  const next = start();
  await next.load({ model: 0, source: simulated(0), limits: LIMITS });
  expect(floats((await next.run({ model: 0, inputs: rowsOf(1) })).outputs[0])).toEqual([-5]);
});

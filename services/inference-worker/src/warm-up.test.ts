import { FREE, type TensorSpec } from "@millrace/protocol";
import { expect, test } from "vitest";
import type { BatchTensor, Ran } from "./runner.ts";
import { fromNumbers, toNumbers } from "./typed-data.ts";
import { sweepSizes, type WarmUp, warmUp, type WarmUpOptions } from "./warm-up.ts";

const X: TensorSpec = { name: "x", datatype: "FP32", shape: [FREE, 3] };
const Y: TensorSpec = { name: "y", datatype: "FP32", shape: [FREE, 3] };
const LIMITS: WarmUpOptions = { maxBatchSize: 8, batching: undefined };

/** A model as a function of its first input's values; by default the output has the input's shape. */
type Compute = (values: Float64Array, shape: readonly number[]) => { values: Float64Array; shape?: readonly number[] };

type Case = { inputs?: TensorSpec[]; output?: TensorSpec; limits?: Partial<WarmUpOptions>; timesMs?: () => number };

async function warm(compute: Compute, given: Case = {}): Promise<WarmUp & { shapes: (readonly number[])[] }> {
  const { inputs = [X], output = Y, limits = {}, timesMs } = given;
  const shapes: (readonly number[])[] = [];
  const run = async ([input]: readonly BatchTensor[]): Promise<Ran> => {
    const { name, datatype, shape, data } = input!;
    shapes.push(shape);
    expect(name).toBe(inputs[0]!.name);
    const result = compute(toNumbers(datatype, data), shape);
    const outputData = fromNumbers(output.datatype, result.values);
    const outputs = [{ ...output, shape: result.shape ?? shape, data: outputData }];
    return { outputs, startedNs: 0n, computeMs: timesMs?.() ?? shape[0] ?? 1 };
  };
  const signature = { inputs, outputs: [output], memoryBytes: 0 };
  return { ...(await warmUp({ run }, signature, { ...LIMITS, ...limits })), shapes };
}

const square: Compute = (values) => ({ values: values.map((value) => value * value) });

test("a model of independent rows batches; the times of its runs come along, and they are few", async () => {
  const { batching, batchingReason, outputs, runs, shapes } = await warm(square);
  expect({ batching, batchingReason }).toEqual({ batching: true, batchingReason: "" });
  expect(outputs).toEqual([Y]);
  expect(runs).toEqual([
    { rows: 1, timesMs: [1, 1] },
    { rows: 2, timesMs: [2] },
    { rows: 8, timesMs: [8] },
  ]);
  expect(shapes.length).toBeLessThanOrEqual(8);
});

test("a sweep measures the powers of two and the largest batch, many times each", async () => {
  expect(sweepSizes(1)).toEqual([1]);
  expect(sweepSizes(64)).toEqual([1, 2, 4, 8, 16, 32, 64]);
  expect(sweepSizes(100)).toEqual([1, 2, 4, 8, 16, 32, 64, 100]);
  const { runs } = await warm(square, { limits: { maxBatchSize: 6, sweepMs: 1_000 } });
  expect(runs.map(({ rows }) => rows)).toEqual([1, 2, 4, 6]);
  for (const { rows, timesMs } of runs) {
    expect(timesMs.length).toBeGreaterThanOrEqual(20);
    expect(new Set(timesMs)).toEqual(new Set([rows]));
  }
});

test("no more elements are tried than a run may have", async () => {
  // A row of X has three.
  const { runs } = await warm(square, { limits: { maxBatchElements: 14, sweepMs: 1_000 } });
  expect(runs.map(({ rows }) => rows)).toEqual([1, 2, 4]);
});

test("the first run of a shape does not count, unless there is no other", async () => {
  let runs = 0;
  const slow = await warm(square, { limits: { sweepMs: 0 }, timesMs: () => (++runs === 1 ? 1_000 : runs) });
  expect(slow.runs.map(({ timesMs }) => timesMs)).toEqual([[4, 5], [3], [6]]);
});

test("the sweep of a slow model ends when its time is over; of one that does not batch it measures single rows", async () => {
  const slow = await warm(square, { limits: { sweepMs: 1_000 }, timesMs: () => 300 });
  const fast = await warm(square, { timesMs: () => 300 });
  expect(slow.shapes.length - fast.shapes.length).toBe(4);
  const alone = await warm(square, { limits: { batching: false, sweepMs: 1_000 } });
  expect(alone.runs).toEqual([{ rows: 1, timesMs: Array.from({ length: 21 }, () => 1) }]);
});

test("a size that shows in the sweep that the model cannot be batched is told", async () => {
  const compute: Compute = (values, [rows = 1]) => {
    if (rows === 4) throw new Error("not four");
    return { values };
  };
  const { batching, batchingReason, runs } = await warm(compute, { limits: { sweepMs: 1_000 } });
  expect({ batching, batchingReason }).toEqual({
    batching: false,
    batchingReason: "it does not run on 4 rows: not four",
  });
  expect(runs.map(({ rows }) => rows)).toEqual([1]);
});

const mean = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0) / values.length;

test.each<[string, Compute]>([
  ["a mean over the batch", (values) => ({ values: values.map((value) => value - mean(values)) })],
  ["a scale over the batch", (values) => ({ values: values.map((value) => value / Math.max(...values)) })],
  ["a running sum", (values) => ({ values: values.map((_, i) => values.slice(0, i + 1).reduce((a, b) => a + b)) })],
  ["rows that swap places", (values) => ({ values: values.toReversed() })],
  [
    "rows that all get the first one's answer",
    (values, [rows = 1]) => {
      const width = values.length / rows;
      return { values: values.map((_, i) => values[i % width]!) };
    },
  ],
])("%s is found: rows influence each other", async (_, compute) => {
  const { batching, batchingReason } = await warm(compute);
  expect(batching).toBe(false);
  expect(batchingReason).toMatch(/^rows influence each other: its output "y"/);
});

test("indices, flags and texts are varied too", async () => {
  for (const datatype of ["INT64", "BOOL", "BYTES", "UINT8", "FP16", "BF16"] as const) {
    const input: TensorSpec = { name: "x", datatype, shape: [FREE] };
    const output: TensorSpec = { name: "y", datatype: "FP32", shape: [FREE] };
    const sum = await warm((values) => ({ values: values.map(() => mean(values)) }), { inputs: [input], output });
    expect([datatype, sum.batching]).toEqual([datatype, false]);
    const alone = await warm(square, { inputs: [input], output });
    expect([datatype, alone.batchingReason]).toEqual([datatype, ""]);
  }
});

test("rounding that depends on the batch is not an influence", async () => {
  const { batching } = await warm((values, [rows = 1]) => ({
    values: values.map((value) => value * (1 + rows * 1e-6)),
  }));
  expect(batching).toBe(true);
});

test("integers must be equal to the last one", async () => {
  const output: TensorSpec = { ...Y, datatype: "INT32" };
  const compute: Compute = (values, [rows = 1]) => ({ values: values.map((value) => value * 1000 + (rows - 1)) });
  expect((await warm(compute, { output })).batching).toBe(false);
});

test("a model that answers at random is not batched, for want of proof; its owner may say so", async () => {
  let seed = 0;
  const random: Compute = (values) => ({ values: values.map(() => (seed = (seed + 0.37) % 1)) });
  expect((await warm(random)).batchingReason).toMatch(/other answers to the same row/);
  expect((await warm(random, { limits: { batching: true } })).batching).toBe(true);
});

test("the owner's batching: false needs no proof", async () => {
  const { batching, batchingReason, shapes } = await warm(square, { limits: { batching: false } });
  expect({ batching, batchingReason }).toEqual({
    batching: false,
    batchingReason: "its manifest says batching: false",
  });
  expect(shapes).toEqual([[1, 3]]);
});

test.each<[string, Case, Compute, RegExp]>([
  [
    "an input of fixed rows",
    { inputs: [{ ...X, shape: [1, 3] }] },
    square,
    /first dimension of its input "x" \[1, 3\]/,
  ],
  ["an input without dimensions", { inputs: [{ ...X, shape: [] }] }, square, /first dimension of its input "x" \[\]/],
  [
    "an output of fixed rows",
    { output: { ...Y, shape: [1, 3] } },
    square,
    /first dimension of its output "y" \[1, 3\]/,
  ],
  [
    "an output that has other rows",
    {},
    (values) => ({ values: values.slice(0, 3), shape: [1, 3] }),
    /its output "y" has the shape \[1, 3\] for 2 rows/,
  ],
  [
    "an output that has other rows even for one",
    {},
    (values) => ({ values, shape: [3, 1] }),
    /its output "y" has the shape \[3, 1\] for 1 rows/,
  ],
  [
    "a failure on two rows",
    {},
    (values, [rows = 1]) => {
      if (rows > 1) throw new Error("cannot reshape");
      return { values };
    },
    /does not run on 2 rows: cannot reshape/,
  ],
  [
    "a failure on its largest batch",
    {},
    (values, [rows = 1]) => {
      if (rows > 2) throw new Error("out of memory");
      return { values };
    },
    /does not run on 8 rows: out of memory/,
  ],
  [
    "a failure on other values than zero",
    {},
    (values) => {
      if (values.some((value) => value !== 0)) throw new Error("unknown value");
      return { values };
    },
    /cannot be checked: unknown value/,
  ],
])("%s: not batched, with the reason", async (...[, given, compute, reason]) => {
  const { batching, batchingReason } = await warm(compute, given);
  expect(batching).toBe(false);
  expect(batchingReason).toMatch(reason);
});

test("an output whose rank the file does not tell is learned from a run", async () => {
  const { outputs, batching } = await warm(square, { output: { ...Y, shape: [] } });
  expect(outputs).toEqual([{ ...Y, shape: [FREE, FREE] }]);
  expect(batching).toBe(true);
});

test("open inner dimensions get a size that works", async () => {
  const open = { inputs: [{ ...X, shape: [FREE, FREE, FREE] }] };
  const needs =
    (size: number): Compute =>
    (values, shape) => {
      if (shape[1] !== size || shape[2] !== size) throw new Error(`not ${size}`);
      return { values };
    };
  expect((await warm(square, open)).shapes[0]).toEqual([1, 2, 2]);
  expect((await warm(needs(1), open)).batching).toBe(true);
  expect((await warm(needs(32), open)).batching).toBe(true);
  await expect(warm(needs(5), open)).rejects.toThrow(/one row of zeros \(tried with 2, 1, 8, 32, 224 .*\): not 5/);
});

test("a model that does not run on one row cannot serve", async () => {
  const broken: Compute = () => {
    throw new Error("kernel failed");
  };
  await expect(warm(broken)).rejects.toThrow("it does not run on one row of zeros: kernel failed");
});

import { encodeStrings, FREE, type TensorSpec } from "@millrace/protocol";
import { expect, test } from "vitest";
import type { BatchTensor } from "./runner.ts";
import { SimulatedRunner } from "./simulated-runner.ts";

const X: TensorSpec = { name: "x", datatype: "FP32", shape: [FREE, 3] };

function deviceOf(outputs: readonly TensorSpec[], inputs: readonly TensorSpec[] = [X]) {
  return { baseMs: 0, rowMs: 0, inputs, outputs };
}

function rowsOf(...rows: readonly (readonly number[])[]): BatchTensor[] {
  return [{ ...X, shape: [rows.length, 3], data: Float32Array.from(rows.flat()).buffer }];
}

/** The documented function, written as it reads. */
function expected(row: readonly number[], j: number): number {
  return row.reduce((sum, value, k) => sum + value * (((7 * k + 13 * j) % 11) - 5), 0);
}

test("computes what it documents, row by row, beyond its period too", async () => {
  const runner = new SimulatedRunner(deviceOf([{ name: "y", datatype: "FP64", shape: [FREE, 13] }]));
  const rows = [
    [1, 0, 0],
    [0.5, -2, 100],
  ];
  const { outputs } = await runner.run(rowsOf(...rows));
  expect(outputs[0]).toMatchObject({ name: "y", datatype: "FP64", shape: [2, 13] });
  const all = rows.flatMap((row) => Array.from({ length: 13 }, (_, j) => expected(row, j)));
  expect(Array.from(new Float64Array(outputs[0]!.data))).toEqual(all);
});

test("brings the sums to every output's datatype", async () => {
  const outputs = ["INT8", "UINT64", "BOOL", "BYTES"] as const;
  const specs = outputs.map((datatype) => ({ name: datatype, datatype, shape: [FREE] }));
  const { outputs: given } = await new SimulatedRunner(deviceOf(specs)).run(rowsOf([60.5, 0, 0], [0, 0, 0]));
  const [int8, uint64, bool, bytes] = given.map(({ data }) => data);
  // s(0) of the first row is 60.5 · −5 = −302.5.
  expect(Array.from(new Int8Array(int8!))).toEqual([-46, 0]);
  expect(Array.from(new BigUint64Array(uint64!))).toEqual([2n ** 64n - 302n, 0n]);
  expect(Array.from(new Uint8Array(bool!))).toEqual([1, 0]);
  expect(Buffer.from(bytes!)).toEqual(encodeStrings(["-302.5", "0"]));
});

test("texts pass through to texts, and count in numbers as the sum of their bytes", async () => {
  const text: TensorSpec = { name: "text", datatype: "BYTES", shape: [FREE, 2] };
  const sum: TensorSpec = { name: "sum", datatype: "INT32", shape: [FREE] };
  const runner = new SimulatedRunner(deviceOf([{ name: "same", datatype: "BYTES", shape: [FREE, 3] }, sum], [text]));
  const data = new Uint8Array(encodeStrings(["a", "b", "", "cc"])).buffer;
  const { outputs } = await runner.run([{ ...text, shape: [2, 2], data }]);
  expect(Buffer.from(outputs[0]!.data)).toEqual(encodeStrings(["a", "b", "a", "", "cc", ""]));
  expect(Array.from(new Int32Array(outputs[1]!.data))).toEqual([expected([97, 98], 0), expected([0, 198], 0)]);
});

test("takes everything as one row where a first dimension is fixed", async () => {
  const runner = new SimulatedRunner(deviceOf([{ name: "y", datatype: "FP64", shape: [1] }]));
  const { outputs } = await runner.run(rowsOf([1, 2, 3], [4, 5, 6]));
  expect(Array.from(new Float64Array(outputs[0]!.data))).toEqual([expected([1, 2, 3, 4, 5, 6], 0)]);
});

test("elements take their time too: a row of three is 30 ms where an element is 10", async () => {
  const runner = new SimulatedRunner({ ...deviceOf([{ ...X, name: "y" }]), elementMs: 10 });
  expect((await runner.run(rowsOf([1, 2, 3]))).computeMs).toBeGreaterThan(29.5);
});

test("takes as long as its rows ask for, without using the processor", async () => {
  const runner = new SimulatedRunner({ ...deviceOf([{ ...X, name: "y" }]), baseMs: 20, rowMs: 10 });
  await runner.run(rowsOf([1, 2, 3]));
  const before = process.cpuUsage();
  const { computeMs } = await runner.run(rowsOf([1, 2, 3], [4, 5, 6], [7, 8, 9]));
  const used = process.cpuUsage(before);
  expect(computeMs).toBeGreaterThan(49.5);
  expect((used.user + used.system) / 1000).toBeLessThan(25);
});

import { expect, test } from "vitest";
import { temporaryFolder } from "../tests/support/temporary-folder.ts";
import { compare, rotated } from "./comparison.ts";
import { PEERS, REFERENCE } from "./peers/peers.ts";
import { cpuBetween } from "./process-usage.ts";
import type { Measurement, Skipped } from "./results.ts";
import type { SideRow } from "./side.ts";
import { SIDES } from "./sides.ts";
import { serveModel, type Workload, WORKLOADS } from "./workloads.ts";

test("each round begins with the next side", () => {
  expect([0, 1, 2, 3].map((round) => rotated(["a", "b", "c"], round).join(""))).toEqual(["abc", "bca", "cab", "abc"]);
  expect(rotated([], 4)).toEqual([]);
});

test("processor time is told by name, of processes that came or went too", () => {
  const before = new Map([
    ["a", 100],
    ["gone", 40],
  ]);
  const after = new Map([
    ["a", 250],
    ["new", 30],
  ]);
  expect(cpuBetween(before, after)).toEqual({ a: 150, gone: 0, new: 30 });
});

test("names of workloads and sides are unique, and workloads name sides that there are", () => {
  const [workloads, sides] = [WORKLOADS.map(({ name }) => name), SIDES.map(({ name }) => name)];
  expect(new Set(workloads).size).toBe(workloads.length);
  expect(new Set(sides).size).toBe(sides.length);
  for (const workload of WORKLOADS) {
    expect(sides, workload.name).toEqual(expect.arrayContaining([...workload.sides]));
  }
});

test("sides are measured in turn, checked, and left out where they do not start or answer wrongly", async () => {
  await using folder = await temporaryFolder();
  const model = await serveModel("small", folder.path);
  const peer = (name: string): SideRow => PEERS.find((row) => row.name === name)!;
  const broken: SideRow = { ...peer(REFERENCE), name: "broken", start: () => Promise.reject(new Error("it cannot")) };
  // Asked in a form that it does not speak, it answers 400.
  const wrong: SideRow = { ...peer(REFERENCE), name: "wrong", form: "lists" };
  const absent: SideRow = { ...peer(REFERENCE), name: "absent", missing: () => "not here" };
  const workload: Workload = {
    ...WORKLOADS[0]!,
    name: "burst",
    model: "small",
    shape: { kind: "burst", requests: 40, deadlineMs: 30_000 },
  };
  const [measurements, skipped]: [Measurement[], Skipped[]] = [[], []];
  await compare({
    workload,
    model,
    rounds: 2,
    ms: 1_000,
    folder: folder.path,
    rows: [peer(REFERENCE), peer("node:cluster × 2"), broken, wrong, absent],
    signal: new AbortController().signal,
    say: () => {},
    measurements,
    skipped,
  });
  expect(measurements.map(({ side, round }) => `${round} ${side}`)).toEqual([
    `0 ${REFERENCE}`,
    "0 node:cluster × 2",
    "1 node:cluster × 2",
    `1 ${REFERENCE}`,
  ]);
  for (const one of measurements) {
    expect(one).toMatchObject({ answers: 40, openLoop: { outcomes: { attained: 40 } } });
    expect(one.checked).toBeGreaterThan(0);
    expect(one.memoryMb).toBeGreaterThan(10);
  }
  expect(skipped.map(({ side }) => side)).toEqual(["broken", "wrong", "absent"]);
  expect(skipped[1]?.reason).toContain('"statuses":{"400":40}');
});

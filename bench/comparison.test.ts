import { expect, test } from "vitest";
import { temporaryFolder } from "../tests/support/temporary-folder.ts";
import { compare, rotated } from "./comparison.ts";
import { CONTROL, PEERS, REFERENCE } from "./peers/peers.ts";
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

test(
  "open loops get a share of what a side can do, measured in their round: of one side for all, or of each its own",
  { timeout: 180_000 },
  async () => {
    await using folder = await temporaryFolder();
    const model = await serveModel("small", folder.path);
    const [one, other] = [REFERENCE, CONTROL].map((name) => PEERS.find((row) => row.name === name)!) as [
      SideRow,
      SideRow,
    ];
    const [measurements, skipped]: [Measurement[], Skipped[]] = [[], []];
    const run = async (of: "own" | { readonly side: string }, rows: readonly SideRow[]): Promise<void> => {
      const shape = { kind: "open", share: 0.1, of, connections: 8, deadlineMs: 10_000 } as const;
      await compare({
        workload: { ...WORKLOADS[0]!, name: typeof of === "string" ? of : "common", model: "small", shape },
        model,
        rounds: 1,
        ms: 1_000,
        folder: folder.path,
        rows,
        signal: new AbortController().signal,
        say: () => {},
        measurements,
        skipped,
      });
    };
    await run({ side: REFERENCE }, [one, other]);
    await run("own", [
      one,
      { ...one, name: "follower", capacityOf: REFERENCE },
      { ...one, name: "lost", capacityOf: "nobody" },
    ]);
    const due = measurements.map(({ workload, side, ratePerSecond }) => ({ workload, side, ratePerSecond }));
    const [common, own] = [due[0]!.ratePerSecond, due[2]!.ratePerSecond];
    expect(due).toEqual([
      { workload: "common", side: REFERENCE, ratePerSecond: common },
      { workload: "common", side: CONTROL, ratePerSecond: common },
      { workload: "own", side: REFERENCE, ratePerSecond: own },
      { workload: "own", side: "follower", ratePerSecond: own },
    ]);
    expect(common).not.toBe(own);
    for (const { openLoop, ratePerSecond = 0, checked } of measurements) {
      // Poisson: far within five deviations of a second's worth.
      expect(Math.abs((openLoop?.planned ?? 0) - ratePerSecond)).toBeLessThan(5 * Math.sqrt(ratePerSecond) + 5);
      expect(checked).toBeGreaterThan(0);
    }
    expect(skipped).toEqual([
      { workload: "own", side: "lost", reason: "nobody, whose capacity the rate is a share of, is not there" },
    ]);
  },
);

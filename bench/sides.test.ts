import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { threadCpuMsOf, type TreeProcess } from "../tests/support/process-tree.ts";
import { temporaryFolder } from "../tests/support/temporary-folder.ts";
import { PEERS, REFERENCE } from "./peers/peers.ts";
import { pinned } from "./pinned.ts";
import type { Side } from "./side.ts";
import { millrace } from "./sides.ts";
import { serveModel } from "./workloads.ts";

test("a side tells what its worker has run, by the clock and by the processor time of its slot", async () => {
  await using folder = await temporaryFolder();
  const served = await serveModel("small", folder.path);
  await using side = await millrace(1, 1).start(served);
  const before = await side.readRuns!();
  // Loading the model and warming it up has taken that thread longer than a tick of the system's account.
  expect(before.cpuSeconds).toBeGreaterThan(0);
  const inputs = [{ name: "input", datatype: "FP32", shape: [1, 64], data: Array.from({ length: 64 }, () => 0.5) }];
  const url = `${side.urls[0]}/v2/models/${served.name}/infer`;
  for (let i = 0; i < 3; i++) {
    const answer = await fetch(url, { method: "POST", body: JSON.stringify({ inputs: inputs }) });
    expect(answer.status).toBe(200);
  }
  const after = await side.readRuns!();
  expect(after.runs - before.runs).toBe(3);
  expect(after.rows - before.rows).toBe(3);
  expect(after.seconds).toBeGreaterThan(before.seconds);
  expect(after.cpuSeconds).toBeGreaterThanOrEqual(before.cpuSeconds);
});

test("a thread that is not there has no processor time, not 0", () => {
  expect(() => threadCpuMsOf(process.pid, "nobody")).toThrow("no thread named nobody");
});

test("a pinned side has each process on one core, where the load is not; one that cannot be pinned leaves none behind", async () => {
  await using folder = await temporaryFolder();
  const served = await serveModel("small", folder.path);
  const plain = PEERS.find(({ name }) => name === REFERENCE)!;
  {
    const row = pinned(plain, () => 0);
    await using side = await row.start(served);
    const cores = side.processes().map(({ pid }) => {
      return /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    });
    expect(cores.length).toBeGreaterThan(0);
    for (const core of cores) expect(core).toMatch(/^\d+$/);
    expect(cores, "the load keeps off").not.toContain(String(row.loadCore!()));
  }
  let started: Side | undefined;
  const watched = { ...plain, start: async (model: typeof served) => (started = await plain.start(model)) };
  await expect(pinned(watched, () => Infinity).start(served)).rejects.toThrow("taskset");
  expect(started!.processes()).toEqual<TreeProcess[]>([]);
});

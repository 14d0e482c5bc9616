import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFailed, test } from "vitest";
import { until } from "./support/bounded.ts";
import { fuzz, type FuzzReport } from "./support/fuzz-client.ts";
import { memoryProbeEnvironment, type MemorySample, slopeOf, takeLevels } from "./support/memory-levels.ts";
import { readMetrics, sumOf } from "./support/metrics-text.ts";
import { encodeOnnxModel } from "./support/onnx-model.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";
import { byShare, IS_FULL } from "./support/test-share.ts";

const REQUESTS = byShare(20_000, 1_000_000);
const SEED = Number(process.env["FUZZ_SEED"] ?? 1);
const CONNECTIONS = 16;
/** How much memory may grow in ten minutes; only a long run can tell. */
const GROWTH_PERCENT_MAX = 1;
/** Between them, with nothing in flight, memory is read. */
const PARTS = byShare(4, 60);
/** Of a run, until caches and heap have their size. */
const WARM_UP_SHARE = 1 / 3;

function byName(counts: ReadonlyMap<string, number>): [string, number][] {
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
}

test(
  `${REQUESTS} requests of every wrong kind, and good ones between them: each is answered as it must be`,
  { timeout: byShare(180_000, 3_600_000) },
  async () => {
    await using folder = await temporaryFolder();
    const batch = ["batch", 2];
    const double = encodeOnnxModel({
      name: "double",
      inputs: [{ name: "x", datatype: "FP32", shape: batch }],
      outputs: [{ name: "y", datatype: "FP32", shape: batch }],
      nodes: [{ op: "Add", inputs: ["x", "x"], outputs: ["y"] }],
    });
    const longs = encodeOnnxModel({
      name: "longs",
      inputs: [{ name: "n", datatype: "INT64", shape: batch }],
      outputs: [{ name: "m", datatype: "INT64", shape: batch }],
      nodes: [{ op: "Identity", inputs: ["n"], outputs: ["m"] }],
    });
    await writeFile(join(folder.path, "double.onnx"), double);
    await writeFile(join(folder.path, "longs.onnx"), longs);
    await using system = await DevSystem.start({
      models: folder.path,
      args: ["--threads", "1"],
      env: memoryProbeEnvironment(folder.path, "gateway-1"),
    });
    onTestFailed(() => console.error(system.process.log.tail()));
    const pid = system.pidOf("gateway-1");
    const admin = system.addresses["gateway-1"]?.["admin"] ?? "";
    const samples: MemorySample[] = [];
    const report: FuzzReport = { requests: 0, statuses: new Map(), cases: new Map(), faults: [] };
    for (let part = 0; part < PARTS; part++) {
      const seed = SEED * 1000 + part;
      await fuzz({ url: system.url, seed, requests: REQUESTS / PARTS, connections: CONNECTIONS }, report);
      // What is wrong may hang, too: it is told below, and not that something is in flight.
      if (report.faults.length > 0) break;
      // What a request holds while it is under way would be taken for growth.
      await until(5_000, "nothing in flight", async () => {
        return sumOf(await readMetrics(admin), "millrace_gateway_inflight_requests") === 0;
      });
      const bytes = await takeLevels(folder.path);
      if (part >= PARTS * WARM_UP_SHARE) samples.push({ atMs: performance.now(), bytes });
    }
    const statuses = byName(report.statuses).map(([status, count]) => `${status} ${count}`);
    console.log(`seed ${SEED}: ${report.requests} requests: ${statuses.join(", ")}`);
    if (IS_FULL)
      console.log(
        byName(report.cases)
          .map(([name, count]) => `${count}\t${name}`)
          .join("\n"),
      );
    const [heap, code] = [slopeOf("heap", samples), slopeOf("code", samples)];
    const resident = slopeOf("resident", samples);
    console.log(`gateway's memory after warm-up: ${JSON.stringify({ heap, code, resident })}`);
    expect(report.faults).toEqual([]);
    // Each was answered because of what it was, and not because the machine was busy.
    const busy = ["429", "503", "504"].reduce((sum, status) => sum + (report.statuses.get(status) ?? 0), 0);
    expect(busy / report.requests).toBeLessThan(0.01);
    expect(system.pidOf("gateway-1")).toBe(pid);
    expect(resident.lastBytes, "memory was read").toBeGreaterThan(0);
    if (IS_FULL) {
      expect(heap.percentPerTenMinutes).toBeLessThan(GROWTH_PERCENT_MAX);
      expect(resident.percentPerTenMinutes).toBeLessThan(GROWTH_PERCENT_MAX);
    }
    await system.stop();
  },
);

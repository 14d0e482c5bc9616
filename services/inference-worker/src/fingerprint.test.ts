import { expect, test } from "vitest";
import { fingerprintOf } from "./fingerprint.ts";
import { DEFAULT_MANIFEST, parseManifest, type SimulatedDevice } from "./manifest.ts";

const machine = { threads: 2, processor: "Intel(R) Xeon(R) Platinum 8488C CPU @ 2.40GHz" };
const model = { digest: "0123456789abcdef0123", manifest: DEFAULT_MANIFEST };

test("a kind of worker is its model file, its device, its threads and its processor", () => {
  expect(fingerprintOf(model, machine)).toBe("0123456789abcdef/cpu/2/Intel-Xeon-Platinum-8488C-CPU-@-2.40GHz");
  const others = [
    fingerprintOf({ ...model, digest: "fedcba9876543210" }, machine),
    fingerprintOf(model, { ...machine, threads: 1 }),
    fingerprintOf(model, { ...machine, processor: "Neoverse-N1" }),
    ...[
      "intra_op_num_threads: 1, enable_mem_pattern: false",
      "execution_providers: [cuda]",
      "enable_cpu_mem_arena: false",
      "graph_optimization_level: basic",
    ].map((text) => fingerprintOf({ ...model, manifest: parseManifest(`onnxruntime: { ${text} }`) }, machine)),
  ];
  expect(new Set([fingerprintOf(model, machine), ...others]).size).toBe(8);
  const oneThread = { ...model, manifest: parseManifest("onnxruntime: { intra_op_num_threads: 1 }") };
  expect(fingerprintOf(oneThread, machine)).toBe(fingerprintOf(model, { ...machine, threads: 1 }));
});

test("simulated devices of other times are of another kind", () => {
  const device = { baseMs: 2, rowMs: 0.1, inputs: [], outputs: [] };
  const kindOf = (simulated: SimulatedDevice): string =>
    fingerprintOf({ digest: "", manifest: { ...DEFAULT_MANIFEST, simulated } }, { threads: 1, processor: "p" });
  expect(kindOf(device)).toBe("2+0.1n/simulated/1/p");
  expect(kindOf({ ...device, baseMs: 4 })).not.toBe(kindOf(device));
  expect(kindOf({ ...device, elementMs: 1 })).not.toBe(kindOf(device));
});

test("however long a processor's name is, the fingerprint is a name", () => {
  const { length } = fingerprintOf(model, { threads: 256, processor: "é (x) ".repeat(1_000) });
  expect(length).toBeLessThan(256);
});

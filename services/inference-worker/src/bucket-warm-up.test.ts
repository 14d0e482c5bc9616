import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { maskedManifest, maskedModel } from "../../../tests/support/load-models.ts";
import { encodeOnnxModel, type OnnxModel } from "../../../tests/support/onnx-model.ts";
import { assemble, type AssembleItem, type ItemOutputs, split } from "./assemble.ts";
import { createRunner, HostedModel } from "./hosted-model.ts";
import { parseManifest } from "./manifest.ts";

let dir = "";
let files = 0;
beforeAll(async () => void (dir = await mkdtemp(join(tmpdir(), "millrace-"))));
afterAll(() => rm(dir, { recursive: true }));

/** Loads it as a worker does, with what its manifest says. */
async function load(model: OnnxModel, manifest: string): Promise<HostedModel> {
  const path = join(dir, `${files++}.onnx`);
  await writeFile(path, encodeOnnxModel(model));
  const runner = await createRunner({ platform: "onnxruntime_onnx", path }, 1);
  return HostedModel.load(runner, parseManifest(manifest));
}

const MASKED = maskedManifest({ sizes: [4, 8, 16], maxBatchSize: 8 });

/** Rows of random tokens of one length; without a mask, as clients send them. */
function itemOf(length: number, rows: readonly (readonly number[])[]): AssembleItem {
  const payload = Buffer.from(BigInt64Array.from(rows.flat(), BigInt).buffer);
  const shape = [rows.length, length];
  return {
    rows: rows.length,
    tensors: [{ name: "tokens", datatype: "INT64", shape, bytes: payload.byteLength }],
    payload,
  };
}

/** One run of these items together, in the real model. */
async function answers(
  hosted: HostedModel,
  items: readonly AssembleItem[],
  padding = hosted.loaded.padding,
): Promise<ItemOutputs[]> {
  const batch = assemble({ ...hosted.loaded, platform: "onnxruntime_onnx" }, items, padding);
  expect(batch.faults.filter((fault) => fault !== undefined)).toEqual([]);
  const { outputs } = await hosted.run(batch.inputs);
  const wantedOutputs = items.map(() => []);
  return split(
    outputs,
    items.map(({ rows }) => rows),
    { wantedOutputs, extents: batch.extents },
  );
}

const item: fc.Arbitrary<AssembleItem> = fc
  .record({ length: fc.integer({ min: 1, max: 16 }), rows: fc.integer({ min: 1, max: 3 }) })
  .chain(({ length, rows }) => {
    const row = fc.array(fc.nat(511), { minLength: length, maxLength: length });
    return fc.array(row, { minLength: rows, maxLength: rows }).map((values) => itemOf(length, values));
  });

test("any mix of rows and lengths gets the answers that each request gets alone and as it is", async () => {
  const hosted = await load(maskedModel(), MASKED);
  expect(hosted.loaded).toMatchObject({ batching: true, paddingReason: "" });
  const { padding } = hosted.loaded;
  await fc.assert(
    fc.asyncProperty(fc.array(item, { minLength: 1, maxLength: 2 }), async (items) => {
      const together = await answers(hosted, items);
      for (const [i, one] of items.entries()) {
        // As long as it is: nothing is padded.
        const size = one.tensors[0]!.shape[1]!;
        const itself = { ...padding!, axes: padding!.axes.map((axis) => ({ ...axis, sizes: [size] })) };
        const [alone] = await answers(hosted, [one], itself);
        expect(together[i]!.tensors).toEqual(alone!.tensors);
        const [mine, other] = [together[i]!, alone!].map(
          ({ payload }) => new Float32Array(new Uint8Array(payload).buffer),
        );
        for (const [at, value] of mine!.entries()) expect(value).toBeCloseTo(other![at]!, 5);
      }
    }),
    { numRuns: 100 },
  );
  await hosted.unload();
});

test("every bucket is warmed up, with one row and with the largest batch that its elements allow", async () => {
  const hosted = await load(maskedModel(), `${MASKED}max_batch_elements: 128\n`);
  // Tokens and mask: a row of 4 has 8 elements, one of 16 has 32.
  const rowsOf = hosted.loaded.buckets.map(({ bucket, runs }) => [bucket, runs.map(({ rows }) => rows)]);
  expect(rowsOf).toEqual([
    ["4|4", [1, 8]],
    ["8|8", [1, 8]],
    ["16|16", [1, 4]],
  ]);
  await hosted.unload();
});

test("a model that has no use for its mask is not padded, and says why", async () => {
  const unmasked = maskedModel();
  const nodes = unmasked.nodes.map((node) => (node.op === "Mul" ? { ...node, op: "Add" } : node));
  const hosted = await load({ ...unmasked, nodes }, MASKED);
  expect(hosted.loaded).toMatchObject({ batching: true, padding: undefined, buckets: [] });
  expect(hosted.loaded.paddingReason).toMatch(/^its output "mean" is another one when the input is padded/);
  const trusted = await load({ ...unmasked, nodes }, `${MASKED}batching: true\n`);
  expect(trusted.loaded).toMatchObject({ padding: { masks: [1] }, paddingReason: "" });
  await hosted.unload();
  await trusted.unload();
});

test("an output that is not cut back is another one, and one that does not follow cannot be cut", async () => {
  const uncut = await load(maskedModel(), MASKED.replace("    outputs: { states: 1 }\n", ""));
  expect(uncut.loaded.paddingReason).toBe('its output "states" has the shape [1, 2, 4] alone, and [1, 4, 4] padded');
  await uncut.unload();
  const model = maskedModel();
  const one = { name: "one", datatype: "INT64", shape: [1], data: [1] } as const;
  const nodes = [...model.nodes, { op: "Slice", inputs: ["mask", "one", "end", "one"], outputs: ["cut"] }];
  const outputs = [...model.outputs, { name: "cut", datatype: "INT64", shape: ["batch", "rest"] } as const];
  const end = { name: "end", datatype: "INT64", shape: [1], data: [100] } as const;
  const shorter = { ...model, nodes, outputs, initializers: [...model.initializers!, one, end] };
  const hosted = await load(shorter, MASKED.replace("{ states: 1 }", "{ states: 1, cut: 1 }"));
  expect(hosted.loaded.padding).toBe(undefined);
  expect(hosted.loaded.paddingReason).toMatch(/dimension 1 of its output "cut" \[\d+, \d+\] is not the padded/);
  await hosted.unload();
});

test("the simulated device is padded with zeros, which its sums do not count", async () => {
  const tensors =
    "inputs: [{ name: x, datatype: FP32, shape: [-1, -1] }], outputs: [{ name: y, datatype: FP32, shape: [-1, 2] }]";
  const manifest = (padding: string): string =>
    `platform: simulated\nsimulated: { ${tensors} }\nbuckets: [{ sizes: [4, 8], inputs: { x: 1 } }]\n${padding}`;
  const loadSimulated = async (text: string): Promise<HostedModel> => {
    const parsed = parseManifest(text);
    return HostedModel.load(await createRunner({ platform: "simulated", device: parsed.simulated! }, 1), parsed);
  };
  const padded = await loadSimulated(manifest(""));
  expect(padded.loaded).toMatchObject({ paddingReason: "", buckets: [{ bucket: "4" }, { bucket: "8" }] });
  const counted = await loadSimulated(manifest("padding: { x: 1 }"));
  expect(counted.loaded.paddingReason).toMatch(/^its output "y" is another one when the input is padded/);
});

test("a model that cannot be batched is not padded", async () => {
  const hosted = await load(maskedModel(), `${MASKED}batching: false\n`);
  expect(hosted.loaded).toMatchObject({ batching: false, padding: undefined, paddingReason: "it is not batched" });
  await hosted.unload();
});

const buckets = (rule: string, rest = ""): string => `buckets: [{ sizes: [4], ${rule} }]\n${rest}`;

test.each<[string, string]>([
  [buckets("inputs: { words: 1 }"), 'buckets[0].inputs: it has no tensor "words"'],
  [buckets("inputs: { tokens: 2 }"), 'buckets[0].inputs: dimension 2 of "tokens" [-1, -1] is not open'],
  [
    buckets("inputs: { tokens: 1 }, outputs: { mean: 1 }"),
    'buckets[0].outputs: dimension 1 of "mean" [-1, 4] is not open',
  ],
  [buckets("inputs: { mask: 1 }, mask: mask"), "buckets[0].inputs: an input that is not a mask is needed"],
  [
    buckets("inputs: { tokens: 1, mask: 1 }, mask: mask", "padding: { mask: 1 }"),
    'padding: its mask "mask" is padded with 0',
  ],
  [buckets("inputs: { tokens: 1 }", "padding: { x: 1 }"), 'padding: it has no input "x"'],
  [
    "buckets: [{ sizes: [4], inputs: { tokens: 1 } }, { sizes: [8], inputs: { tokens: 1 } }]",
    'buckets: dimension 1 of "tokens" lies along two axes',
  ],
])("a manifest that does not fit its model fails it: %s", async (manifest, reason) => {
  await expect(load(maskedModel(), manifest)).rejects.toThrow(reason);
});

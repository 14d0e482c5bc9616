import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFailed, test } from "vitest";
import { assertAllRight, describeLoad, runCheckedLoad } from "./support/load.ts";
import { maskedManifest, maskedModel, MASKED_WORDS, writeModels } from "./support/load-models.ts";
import { readMetrics, sumOf } from "./support/metrics-text.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";
import { byShare } from "./support/test-share.ts";

const CONNECTIONS = 64;
const REQUESTS = byShare(4_000, 50_000);
/** A bucket, and lengths that share it: below, at and above half of it. */
const SIZES = [4, 8, 32];
const LENGTHS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 31, 32];

test(
  `${REQUESTS} requests of ${LENGTHS.length} lengths share padded runs: every row is answered as if it were alone, and unpadded`,
  { timeout: byShare(120_000, 900_000) },
  async () => {
    await using folder = await temporaryFolder();
    const [path = ""] = await writeModels(folder.path, [maskedModel()]);
    await writeFile(join(folder.path, "masked", "model.yaml"), maskedManifest({ sizes: SIZES, maxBatchSize: 32 }));
    await using system = await DevSystem.start({ models: folder.path, args: ["--threads", "1"] });
    onTestFailed(() => console.error(system.process.log.tail()));
    const pool = { model: "masked", path, rows: 1_200, lengths: LENGTHS, omit: "mask", seed: 71 };
    const report = await runCheckedLoad({
      urls: system.urls,
      connections: CONNECTIONS,
      requests: REQUESTS,
      pools: [{ ...pool, integers: [0, MASKED_WORDS - 1] }],
      seed: 72,
      rowsMax: 4,
    });
    console.log(describeLoad(report));
    assertAllRight(report);
    const { identity } = report;
    expect(identity.requests).toBe(REQUESTS);
    // Runs are told by whole requests, and lengths are mixed: one of twelve lengths alone fills far fewer.
    expect(identity.batches["masked"]?.meanRequests).toBeGreaterThan(2);
    const metrics = await readMetrics(system.addresses["worker-1"]!["admin"]!);
    const elements = sumOf(metrics, "millrace_worker_input_elements_total", { model: "masked" });
    const padding = sumOf(metrics, "millrace_worker_padding_elements_total", { model: "masked" });
    // Tokens and mask of all rows, each of a length of its own: what is left is padding.
    const lengths = LENGTHS.reduce((sum, length) => sum + length, 0) / LENGTHS.length;
    console.log(`padding ratio ${(padding / elements).toFixed(3)}`);
    expect((elements - padding) / identity.rows / 2 / lengths).toBeCloseTo(1, 1);
    expect(padding / elements).toBeGreaterThan(0.1);
    expect(padding / elements).toBeLessThan(0.5);
    await system.stop();
  },
);

test("what is longer than the largest bucket is refused with the limits, and a mask may be given or left out", async () => {
  await using folder = await temporaryFolder();
  await writeModels(folder.path, [maskedModel()]);
  await writeFile(join(folder.path, "masked", "model.yaml"), maskedManifest({ sizes: SIZES, maxBatchSize: 32 }));
  await using system = await DevSystem.start({ models: folder.path, args: ["--threads", "1"] });
  onTestFailed(() => console.error(system.process.log.tail()));
  // Zeros in the place of the mask would be no example.
  const example = await system.process.log.waitFor(/^curl /);
  expect(example).toContain('"tokens"');
  expect(example).not.toContain('"mask"');
  const infer = async (...inputs: readonly [name: string, data: readonly number[]][]) => {
    const tensors = inputs.map(([name, data]) => ({ name, datatype: "INT64", shape: [1, data.length], data }));
    const response = await fetch(`${system.url}/v2/models/masked/infer`, {
      method: "POST",
      headers: { connection: "close" },
      body: JSON.stringify({ inputs: tensors, outputs: [{ name: "mean" }] }),
    });
    return { status: response.status, body: (await response.json()) as { outputs: { data: number[] }[] } };
  };
  expect(await infer(["tokens", Array<number>(33).fill(1)])).toMatchObject({
    status: 400,
    body: { code: "invalid_shape", error: expect.stringContaining('is 33, model "masked" takes 1 to 32') },
  });
  const lone = await infer(["tokens", [5]]);
  const made = await infer(["tokens", [5, 9]]);
  const given = await infer(["tokens", [5, 9]], ["mask", [1, 1]]);
  const masked = await infer(["tokens", [5, 9]], ["mask", [1, 0]]);
  expect(made.body.outputs).toEqual(given.body.outputs);
  expect(masked.body.outputs).toEqual(lone.body.outputs);
  expect(masked.body.outputs).not.toEqual(given.body.outputs);
  await system.stop();
});

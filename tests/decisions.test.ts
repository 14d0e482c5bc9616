import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { simulatedRequest } from "./support/simulated-model.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

type Decision = Readonly<Record<string, string | number>>;
type Answer = {
  readonly status: number;
  readonly body: { readonly decisions: readonly Decision[]; readonly code: string };
};

/** 20 ms a batch, and 1 ms a row: batching pays. */
async function writeModel(dir: string): Promise<void> {
  const tensor = (name: string): unknown => ({ name, datatype: "FP32", shape: [-1, 2] });
  const simulated = { base_ms: 20, row_ms: 1, inputs: [tensor("x")], outputs: [tensor("y")] };
  await mkdir(join(dir, "gpu"), { recursive: true });
  const manifest = { batching: true, max_batch_size: 16, platform: "simulated", simulated };
  await writeFile(join(dir, "gpu", "model.yaml"), JSON.stringify(manifest));
}

test("the broker tells why each batch left and why requests were refused, and how the runs compared with their prediction", async () => {
  await using dir = await temporaryFolder();
  await writeModel(dir.path);
  await using system = await DevSystem.start({ models: dir.path });
  const get = async (query: string): Promise<Answer> => {
    const response = await fetch(`${system.addresses["broker-1"]!["admin"]}/decisions${query}`);
    return { status: response.status, body: (await response.json()) as Answer["body"] };
  };
  const infer = async (timeoutMs: number): Promise<number> => {
    const response = await fetch(`${system.url}/v2/models/gpu/infer`, {
      method: "POST",
      headers: { "x-request-timeout-ms": String(timeoutMs) },
      body: simulatedRequest(1),
    });
    await response.arrayBuffer();
    return response.status;
  };
  // Two at a time, then a hundred at once, of which the slot can serve but a part in 200 ms.
  for (let round = 0; round < 5; round++) expect(await Promise.all([infer(5_000), infer(5_000)])).toEqual([200, 200]);
  const statuses = await Promise.all(Array.from({ length: 400 }, () => infer(200)));
  const { status, body } = await get("?model=gpu&limit=1000");
  expect(status).toBe(200);
  const sent = body.decisions.filter(({ decision }) => decision === "sent");
  const answered = sent.filter(({ ended }) => ended === "answered");
  const rows = answered.reduce((sum, one) => sum + Number(one["rows"]), 0);
  // Every answer is in a batch that is told of.
  expect(rows).toBeGreaterThanOrEqual(10 + statuses.filter((code) => code === 200).length);
  for (const one of answered) expect(one).toMatchObject({ worker: expect.any(String), compute_ms: expect.any(Number) });
  expect(sent).toContainEqual(expect.objectContaining({ why: "full", bound: "model", rows: 16 }));
  const turnedAway = body.decisions.filter(({ decision }) => decision === "refused" || decision === "shed");
  const count = turnedAway.reduce((sum, one) => sum + Number(one["count"]), 0);
  const refused = statuses.filter((code) => code === 429).length;
  expect(refused).toBeGreaterThan(0);
  // A refusal that comes when the budget has passed at the gateway is a 504 there.
  expect(count).toBeGreaterThanOrEqual(refused);
  expect(count).toBeLessThanOrEqual(statuses.filter((code) => code !== 200).length);
  expect(await get("?model=gpu&limit=-1")).toMatchObject({ status: 400, body: { code: "invalid_request" } });
  expect(await get("?model=nobody")).toMatchObject({ status: 404, body: { code: "model_not_found" } });
});

import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { createClient } from "@redis/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "./support/bounded.ts";
import { FeatureServer, type FeatureTable } from "./support/feature-server.ts";
import { elements, get, infer, post, requestOf, type Tensors } from "./support/inference-client.ts";
import { readMetrics, sumOf } from "./support/metrics-text.ts";
import { RedisServer } from "./support/redis-server.ts";
import { NODE, ROOT } from "./support/repository.ts";
import { readStages } from "./support/server-timing-reader.ts";
import { DevSystem } from "./support/system.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

/** The examples of examples/hooks, as they stand there, against a real Redis and a server that speaks as Feast does. */

const started = new AsyncDisposableStack();
let redis: RedisServer;
let feast: FeatureServer;
let system: DevSystem;
let payloadLog: string;

/** The pixels of the ten images of examples/digits. */
const IMAGES: number[][] = [];

beforeAll(async () => {
  for (let digit = 0; digit < 10; digit++) {
    const text = await readFile(join(ROOT, `examples/digits/${digit}.json`), "utf8");
    IMAGES.push((JSON.parse(text) as { inputs: [{ data: number[] }] }).inputs[0].data);
  }
  const rows = IMAGES.map((pixels, digit) => [digit, Object.fromEntries(pixels.map((value, i) => [`p${i}`, value]))]);
  redis = started.use(await RedisServer.start());
  feast = started.use(await FeatureServer.start("images", Object.fromEntries(rows) as FeatureTable));
  payloadLog = join(started.use(await temporaryFolder()).path, "payloads.jsonl");
  await promisify(execFile)(NODE, ["examples/hooks/seed.ts", redis.url], { cwd: ROOT });
  const env = { REDIS_URL: redis.url, FEAST_URL: feast.url, PAYLOAD_LOG: payloadLog, PAYLOAD_SAMPLE: "1" };
  system = started.use(await DevSystem.start({ models: join(ROOT, "examples/hooks/models"), env }));
});

afterAll(async () => {
  await started.disposeAsync();
});

/** What the model itself says of images, without hooks before it. */
async function labelsOf(pixels: readonly (readonly number[])[]): Promise<readonly unknown[]> {
  const image = elements("FP32", [pixels.length, 64], pixels.flat());
  return (await infer(system.url, "logged", { image }))["label"]?.data ?? [];
}

const events = async (model: string, event: string): Promise<number> =>
  sumOf(await readMetrics(system.addresses["gateway-1"]?.["admin"] ?? ""), "millrace_gateway_hook_events_total", {
    model,
    event,
  });

test("by-id: features from Redis become the model's inputs, in the order of the ids, and come from the cache then", async () => {
  const ids = ["7", "0", "9", "7"];
  const ask = (): Promise<Tensors> => infer(system.url, "by-id", { image_id: elements("BYTES", [4], ids) });
  const first = await ask();
  expect(first["label"]?.data).toEqual(await labelsOf(ids.map((id) => IMAGES[Number(id)] ?? [])));
  expect(first["label"]?.data).toEqual([7, 0, 9, 7]);
  const hits = await events("by-id", "cache_hit");
  expect(await ask()).toEqual(first);
  expect((await events("by-id", "cache_hit")) - hits).toBe(3);
});

test("by-id: clients see the inputs of the hook, in the metadata and in the plain form", async () => {
  const metadata = JSON.parse((await get(`${system.url}/v2/models/by-id`)).text) as Record<string, unknown>;
  expect(metadata["inputs"]).toEqual([{ name: "image_id", datatype: "BYTES", shape: [-1] }]);
  expect(metadata["outputs"]).toMatchObject([{ name: "label" }, { name: "probabilities" }]);
  const { text } = await post(`${system.url}/predict/by-id`, { data: ["3", "4"] });
  expect((JSON.parse(text) as { result: { label: number[] } }).result.label).toEqual([3, 4]);
});

test("by-id: an id that nobody knows is the client's mistake", async () => {
  const body = requestOf({ image_id: elements("BYTES", [2], ["1", "no such"]) });
  const { status, text } = await post(`${system.url}/v2/models/by-id/infer`, body);
  expect([status, JSON.parse(text)]).toEqual([400, { error: 'there is no image "no such"', code: "invalid_input" }]);
});

test("by-id: an image that lacks pixels is not filled up with blank ones", async () => {
  const client = createClient({ url: redis.url });
  await client.connect();
  await client.hSet("image:half", { p0: "1" });
  await client.close();
  const body = requestOf({ image_id: elements("BYTES", [1], ["half"]) });
  const { status, text } = await post(`${system.url}/v2/models/by-id/infer`, body);
  expect([status, JSON.parse(text)]).toMatchObject([500, { code: "hook_failed" }]);
});

test("by-id: while Redis hangs, what is stale counts, what was never there fails with 503, and both in time", async () => {
  const ask = (id: string) =>
    post(`${system.url}/v2/models/by-id/infer`, requestOf({ image_id: elements("BYTES", [1], [id]) }));
  expect((await ask("5")).status).toBe(200);
  redis.stop();
  try {
    // Fresh for a second.
    await until(10_000, "a stale answer", async () => {
      const { status, text } = await ask("5");
      expect([status, text]).toEqual([200, expect.stringContaining('"data":[5]')]);
      return (await events("by-id", "lookup_stale")) > 0;
    });
    const { status, headers, text } = await ask("6");
    expect([status, JSON.parse(text)]).toMatchObject([503, { code: "lookup_failed" }]);
    expect(headers.get("retry-after")).toBe("1");
    expect(readStages(headers.get("server-timing") ?? "").preprocess).toBeGreaterThan(150);
  } finally {
    redis.resume();
  }
  await until(10_000, "Redis is back", async () => (await ask("6")).status === 200);
});

test("by-id-feast: features from a feature server, integers as ids; unknown ones and a server that fails get the default", async () => {
  const image_id = (...ids: number[]): Tensors => ({ image_id: elements("INT64", [ids.length], ids) });
  const blank = await labelsOf([Array.from({ length: 64 }, () => 0)]);
  const answer = await infer(system.url, "by-id-feast", image_id(2, 77, 8));
  expect(answer["label"]?.data).toEqual([2, ...blank, 8]);
  expect(feast.requests.at(-1)).toMatchObject({ entities: { image_id: [2, 77, 8] } });
  feast.status = 500;
  const failing = await infer(system.url, "by-id-feast", image_id(4));
  feast.status = 200;
  feast.isSilent = true;
  const silent = await infer(system.url, "by-id-feast", image_id(4));
  feast.isSilent = false;
  expect([failing["label"]?.data, silent["label"]?.data]).toEqual([blank, blank]);
  expect((await infer(system.url, "by-id-feast", image_id(4)))["label"]?.data).toEqual([4]);
});

test("nearest: the answer is a search over vectors in Redis", async () => {
  const image = elements("FP32", [2, 64], [...(IMAGES[1] ?? []), ...(IMAGES[6] ?? [])]);
  const answer = await infer(system.url, "nearest", { image });
  expect(Object.keys(answer)).toEqual(["nearest"]);
  expect(answer["nearest"]?.shape).toEqual([2, 3]);
  expect([answer["nearest"]?.data[0], answer["nearest"]?.data[3]]).toEqual(["one", "six"]);
});

test("nearest: without a catalogue nothing is near", async () => {
  const image = elements("FP32", [1, 64], IMAGES[1] ?? []);
  const ask = () => post(`${system.url}/v2/models/nearest/infer`, requestOf({ image }));
  const client = createClient({ url: redis.url });
  await client.connect();
  await client.rename("catalogue", "elsewhere");
  try {
    await until(10_000, "what was cached is old", async () => (await ask()).status !== 200);
    expect(await ask()).toMatchObject({ status: 503, text: expect.stringContaining("lookup_failed") as string });
  } finally {
    await client.rename("elsewhere", "catalogue");
    await client.close();
  }
  await until(10_000, "the catalogue is back", async () => (await ask()).status === 200);
});

test("logged: each request is a line, without what is to be hidden", async () => {
  const label = await labelsOf([IMAGES[3] ?? []]);
  const id = "a-line-of-its-own";
  const body = requestOf({ image: elements("FP32", [1, 64], IMAGES[3] ?? []) });
  await post(`${system.url}/v2/models/logged/infer`, body, { "x-request-id": id });
  const lines = async (): Promise<string[]> => (await readFile(payloadLog, "utf8").catch(() => "")).split("\n");
  await until(5_000, "the line", async () => (await lines()).some((line) => line.includes(id)));
  const line = JSON.parse((await lines()).find((text) => text.includes(id)) ?? "") as unknown;
  expect(line).toEqual({
    "@timestamp": expect.stringMatching(/^\d{4}-.*Z$/),
    request_id: id,
    model: "logged",
    version: "1",
    outcome: "ok",
    duration_ms: expect.any(Number),
    inputs: { image: { datatype: "FP32", shape: [1, 64], data: "[redacted]" } },
    outputs: {
      label: { datatype: "INT64", shape: [1], data: label },
      probabilities: { datatype: "FP32", shape: [1, 10], data: expect.any(Array) },
    },
  });
});

test("scanned: a thread counts the ink of bitmaps", async () => {
  // Each pixel of 0 to 16 as so much ink in its block of 4×4.
  const bitmap = Array.from({ length: 32 * 32 }, (_, at) => {
    const [y, x] = [Math.floor(at / 32), at % 32];
    const ink = IMAGES[8]?.[Math.floor(y / 4) * 8 + Math.floor(x / 4)] ?? 0;
    return (y % 4) * 4 + (x % 4) < ink;
  });
  const answer = await infer(system.url, "scanned", { bitmap: elements("BOOL", [1, 32, 32], bitmap) });
  const image = elements("FP32", [1, 64], IMAGES[8] ?? []);
  expect(answer).toEqual(await infer(system.url, "logged", { image }));
});

test("the examples end as they should", async () => {
  await system.stop();
});

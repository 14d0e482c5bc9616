import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { HookContext, HookRecord, Tensor } from "./contract.ts";
import { elementsOf } from "./elements.ts";
import { logPayloads, type PayloadLogOptions } from "./payload-log.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-test-"));
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const context = { model: { name: "m", version: "2" }, requestId: "r" } as HookContext;
const tensor = (datatype: string, data: unknown, shape: number[]): Tensor => ({ datatype, shape, data }) as Tensor;

const RECORD: HookRecord = {
  atMs: Date.UTC(2026, 10, 21),
  durationMs: 1.23456,
  outcome: "ok",
  request: {
    rows: 2,
    inputs: {
      user: tensor("BYTES", [Buffer.from("ann@example.com, bob@example.com"), Buffer.from([0, 255])], [2]),
      secret: tensor("FP32", Float32Array.of(1), [1]),
    },
  },
  outputs: {
    big: tensor("INT64", BigInt64Array.of(2n ** 62n, -1n), [2]),
    score: tensor("FP64", Float64Array.of(0.5, Number.NaN, 3), [3]),
  },
};

/** The lines that these options make of the record, `times` times. */
async function linesWith(options: Omit<PayloadLogOptions, "file">, times = 1): Promise<string[]> {
  const file = join(folder, `${Math.random()}.jsonl`);
  const after = logPayloads({ file, ...options });
  for (let i = 0; i < times; i++) await after(RECORD, context);
  const text = await readFile(file, "utf8").catch(() => "");
  return text.split("\n").slice(0, -1);
}

test("a line holds what was asked and answered, exact integers, no NaN, bytes that are no text in base64", async () => {
  const [line = ""] = await linesWith({});
  expect(line).toContain('"data":[4611686018427387904,-1]');
  expect(JSON.parse(line)).toMatchObject({
    "@timestamp": "2026-11-21T00:00:00.000Z",
    request_id: "r",
    model: "m",
    version: "2",
    outcome: "ok",
    duration_ms: 1.235,
    inputs: {
      user: { datatype: "BYTES", shape: [2], data: ["ann@example.com, bob@example.com", { base64: "AP8=" }] },
      secret: { data: [1] },
    },
    outputs: { score: { datatype: "FP64", shape: [3], data: [0.5, null, 3] } },
  });
});

test("what is to be hidden is in no line, by tensor and by text", async () => {
  const [line = ""] = await linesWith({ redact: ["inputs.secret", "outputs.big"], redactTexts: [/\w+@[\w.]+/g] });
  expect(line).not.toMatch(/example|4611686018427387904/);
  expect(JSON.parse(line)).toMatchObject({
    inputs: {
      user: { data: ["[redacted], [redacted]", { base64: "AP8=" }] },
      secret: { shape: [1], data: "[redacted]" },
    },
    outputs: { big: { data: "[redacted]" } },
  });
});

test("an odd byte in a text hides nothing from the patterns", async () => {
  const odd = Buffer.concat([Buffer.from("ann@example.com"), Buffer.from([255])]);
  const file = join(folder, "odd.jsonl");
  const after = logPayloads({ file, redactTexts: [/\w+@[\w.]+/g] });
  const inputs = { user: tensor("BYTES", [odd, odd, Buffer.from([0, 255])], [3]) };
  await after({ ...RECORD, request: { rows: 3, inputs } }, context);
  const { inputs: told } = JSON.parse(await readFile(file, "utf8")) as { inputs: unknown };
  expect(told).toMatchObject({ user: { data: ["[redacted]", "[redacted]", { base64: "AP8=" }] } });
});

test("long tensors are cut and say so", async () => {
  const [line = ""] = await linesWith({ elementsMax: 2 });
  expect(JSON.parse(line)).toMatchObject({ outputs: { score: { data: [0.5, null], truncated: true } } });
  expect(line.match(/truncated/g)).toHaveLength(1);
});

test("a sample is a share of the requests", async () => {
  expect(await linesWith({ sample: 0 }, 50)).toHaveLength(0);
  const { length } = await linesWith({ sample: 0.5 }, 400);
  // Six standard deviations on either side.
  expect(length).toBeGreaterThan(140);
  expect(length).toBeLessThan(260);
});

test("a file that cannot be written fails the call, each time", async () => {
  const after = logPayloads({ file: join(folder, "no", "such", "folder") });
  await expect(after(RECORD, context)).rejects.toThrow("ENOENT");
  await expect(after(RECORD, context)).rejects.toThrow("ENOENT");
});

test("a line that a full disk has cut is not gone on with: the next one is whole", async () => {
  const file = join(folder, "full.jsonl");
  const program = `
    import { readFileSync, truncateSync } from "node:fs";
    import { logPayloads } from ${JSON.stringify(new URL("payload-log.ts", import.meta.url).href)};
    const file = ${JSON.stringify(file)};
    const after = logPayloads({ file });
    const record = { atMs: 0, durationMs: 1, outcome: "ok", request: { rows: 1, inputs: {} }, outputs: {} };
    const context = { model: { name: "m", version: "2" }, requestId: "r" };
    let fault;
    while (fault === undefined) await after(record, context).catch((error) => (fault = error.code));
    // There is room for a line again, behind what is left of another.
    truncateSync(file, readFileSync(file, "utf8").lastIndexOf("\\n") - 300);
    await after(record, context);
    process.stdout.write(fault);
  `;
  // The file may have two blocks: the system takes the beginning of the line that does not fit, as a full disk does.
  const run = ["-c", 'ulimit -f 2; exec "$0" --input-type=module -e "$1"', process.execPath, program];
  const { stdout } = await promisify(execFile)("sh", run);
  expect(stdout).toBe("EFBIG");
  const lines = (await readFile(file, "utf8")).trimEnd().split("\n");
  expect(JSON.parse(lines.at(-1) ?? "")).toMatchObject({ request_id: "r" });
});

test.for<Partial<PayloadLogOptions>>([{ sample: 2 }, { elementsMax: -1 }, { redact: ["secret"] }])(
  "%o is refused",
  (options) => {
    expect(() => logPayloads({ file: "x", ...options })).toThrow(RangeError);
  },
);

test("elements have the type of their datatype; a mistake in a name or a type is told", () => {
  expect(elementsOf(RECORD.outputs, "big", "INT64")[0]).toBe(2n ** 62n);
  expect(() => elementsOf(RECORD.outputs, "big", "FP32")).toThrow('there is no tensor "big" of FP32');
  expect(() => elementsOf(RECORD.outputs, "no", "FP32")).toThrow(TypeError);
});

import { join } from "node:path";
import { expect, test } from "vitest";
import { until } from "./support/bounded.ts";
import { CommandProcess } from "./support/command-process.ts";
import { perceptronModel, writeModels } from "./support/load-models.ts";
import { NODE, ROOT } from "./support/repository.ts";
import { writeSimulatedModel } from "./support/simulated-model.ts";
import { StartedProcess } from "./support/started-process.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

type Point = { readonly rows: number; readonly q50_ms: number; readonly q95_ms: number; readonly samples: number };
type Document = {
  readonly model: string;
  readonly version: string;
  readonly error?: string;
  readonly batching: boolean;
  readonly points: readonly Point[];
  readonly line: { readonly fixed_ms: number; readonly row_ms: number } | null;
  readonly best: { readonly rows: number; readonly workers: number } | null;
  readonly workers_needed: number | null;
};

/** `millrace bench` with a share of the compute time that it takes by default. */
async function bench(
  ...args: readonly string[]
): Promise<{ readonly code: number | null; readonly lines: readonly string[] }> {
  await using command = new StartedProcess({ argv: ["cli/src/main.ts", "bench", "--seconds", "0.5", ...args] });
  const { code } = await command.awaitExit(60_000);
  expect(command.tree()).toEqual([]);
  return { code, lines: command.log.lines };
}

/** The document is what is not progress. */
function documentsOf(lines: readonly string[]): readonly Document[] {
  const from = lines.indexOf("{");
  return (JSON.parse(lines.slice(from, lines.lastIndexOf("}") + 1).join("\n")) as { models: readonly Document[] })
    .models;
}

test("the digits model is measured for real: the report has its sizes, what to run within a target, and lines for model.yaml", async () => {
  const { code, lines } = await bench(
    "--model",
    "digits",
    "--slo-ms",
    "1000",
    "--rate-per-second",
    "100",
    "--threads",
    "1",
  );
  expect(code).toBe(0);
  const text = lines.join("\n");
  expect(text).toContain("digits version 1, 1 thread\n");
  for (const rows of [1, 2, 4, 8, 16, 32, 64, 128, 256])
    expect(text).toMatch(new RegExp(`^ +${rows} +[\\d.]+ +[\\d.]+ +\\d+ +[\\d,]+  █+$`, "m"));
  expect(text).toMatch(/ {2}100 rows\/s within 1000 ms: 1 worker needed\n/);
  expect(text).toMatch(/ {2}for model.yaml:\n {4}max_batch_size: \d+\n {4}slo_ms: 1000$/m);
  expect(text).toContain("digits version 1: loading and measuring");
});

test("--json: a device of known times gives its own curve, batch size and workers; one that cannot be measured has its reason", async () => {
  await using folder = await temporaryFolder();
  await writeSimulatedModel(folder.path, { name: "device", runMs: 4, rowMs: 0.25 });
  await writeSimulatedModel(folder.path, { name: "broken", runMs: -1 });
  const { code, lines } = await bench(
    "--models",
    folder.path,
    "--json",
    "--slo-ms",
    "200",
    "--rate-per-second",
    "10000",
  );
  expect(code).toBe(1);
  const [broken, device] = documentsOf(lines);
  expect(broken).toMatchObject({ model: "broken", error: expect.stringContaining("base_ms") });
  expect(device).toMatchObject({ model: "device", version: "1", batching: true });
  const { points, line, best, workers_needed: needed } = device!;
  expect(points.map(({ rows }) => rows)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256]);
  // A run never takes less than it should; more, on a busy machine.
  for (const { rows, q50_ms: q50Ms, q95_ms: q95Ms } of points) {
    expect(q50Ms).toBeGreaterThan(0.95 * (4 + 0.25 * rows));
    expect(q95Ms).toBeGreaterThanOrEqual(q50Ms);
  }
  expect(line?.row_ms).toBeGreaterThan(0.1);
  expect(needed).toBeGreaterThanOrEqual(3);
  expect(best?.workers).toBe(needed);
  expect(best?.rows).toBeGreaterThan(32);
});

test("a model that does not batch is measured alone, and the report says why", async () => {
  await using folder = await temporaryFolder();
  const [input, output] = [
    { name: "x", datatype: "FP32", shape: [1, 16] },
    { name: "y", datatype: "FP32", shape: [1, 8] },
  ] as const;
  await writeModels(folder.path, [{ ...perceptronModel(), inputs: [input], outputs: [output] }]);
  const { code, lines } = await bench("--models", folder.path, "--slo-ms", "1000");
  expect(code).toBe(0);
  const text = lines.join("\n");
  expect(text).toContain('not batched: the first dimension of its input "x" [1, 16] is not open');
  expect(text).toMatch(/within 1000 ms with 1 worker: up to 1 row a run/);
  expect(text).not.toContain("max_batch_size");
});

test("what does not exist is told, with code 2", async () => {
  for (const [args, message] of [
    [["--model", "nobody"], 'there is no model "nobody"'],
    [["--models", join(ROOT, "nowhere")], "there is no such folder"],
    [["--rows-max", "300"], "--rows-max"],
    [["--slo", "5"], "unknown option --slo"],
  ] as const) {
    const { code, lines } = await bench(...args);
    expect(lines.join("\n")).toContain(message);
    expect(code).toBe(2);
  }
});

test("Ctrl-C ends it and what it started", async () => {
  await using folder = await temporaryFolder();
  await writeSimulatedModel(folder.path, { name: "slow", runMs: 3_600_000 });
  await using command = new CommandProcess({ argv: [NODE, "cli/src/main.ts", "bench", "--models", folder.path] });
  await command.log.waitFor(/slow version 1: loading and measuring/);
  command.signal("SIGINT");
  expect(await command.exited).toEqual({ code: null, signal: "SIGINT" });
  await until(5_000, "the end of what it started", () => command.tree().length === 0);
});

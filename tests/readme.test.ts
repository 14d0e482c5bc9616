import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ROOT } from "./support/repository.ts";
import { DevSystem } from "./support/system.ts";

/** Where `make run` serves, as the pages write it. */
const DOCUMENTED_URL = "http://127.0.0.1:8000";
const BUNDLED = join(ROOT, "models");

let system: DevSystem;

beforeAll(async () => {
  system = await DevSystem.start({ models: BUNDLED });
});

afterAll(async () => {
  await system?.stop();
  await system?.[Symbol.asyncDispose]();
});

/** Runs a line of a page in the root of the repository, with the port that is served here. */
async function runLine(line: string): Promise<string> {
  const command = line.replaceAll(DOCUMENTED_URL, system.url);
  return (await promisify(execFile)("sh", ["-c", command], { cwd: ROOT, timeout: 30_000 })).stdout;
}

/** The lines in the shell blocks of a page that start with a word. */
function linesOf(page: string, word: string): string[] {
  const blocks = [...readFileSync(join(ROOT, page), "utf8").matchAll(/^```sh\n([\s\S]*?)^```/gm)];
  return blocks.flatMap(([, block = ""]) => block.split("\n")).filter((line) => line.startsWith(`${word} `));
}

function lineWith(page: string, part: string): string {
  const lines = linesOf(page, "curl").filter((line) => line.includes(part));
  expect(lines, `${page}: one curl line with ${part}`).toHaveLength(1);
  return lines[0] ?? "";
}

test("every curl line of the README is one that is tried here", () => {
  expect(linesOf("README.md", "curl")).toHaveLength(2);
});

test.for(["README.md", "examples/digits/README.md"])("the curl line of %s classifies the seven", async (page) => {
  const answer = JSON.parse(await runLine(lineWith(page, "examples/digits/7.json"))) as unknown;
  expect(answer).toMatchObject({
    model_name: "digits",
    outputs: [
      { name: "label", datatype: "INT64", shape: [1], data: [7] },
      { name: "probabilities", datatype: "FP32", shape: [1, 10] },
    ],
  });
});

test("the plain form of the README answers with a digit", async () => {
  const line = lineWith("README.md", "/predict");
  const answer = JSON.parse(await runLine(line)) as unknown;
  expect(answer).toEqual({
    request_id: expect.stringMatching(/./),
    result: { label: 0, probabilities: expect.any(Array) },
    latency_ms: expect.any(Number),
    batch_size: 1,
  });
});

test("the script of the examples gets all ten digits right", async () => {
  const output = await runLine(`examples/digits/classify.sh ${DOCUMENTED_URL}`);
  expect(output.trimEnd().split("\n")).toHaveLength(11);
  expect(output).toMatch(/\nall right\n$/);
});

test("every command that the README shows is one that the command line knows", async () => {
  const { stdout } = await promisify(execFile)("npx", ["millrace", "--help"], { cwd: ROOT });
  const shown = linesOf("README.md", "npx").map((line) => line.split("#")[0] ?? "");
  expect(shown.length).toBeGreaterThan(0);
  for (const line of shown) {
    for (const command of line.replace(/^npx millrace /, "").split("|")) {
      expect(stdout).toContain(`\n  ${command.trim().split(" ")[0]} `);
    }
  }
});

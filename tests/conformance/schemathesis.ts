/**
 * Property-based requests against a live `millrace dev`, made from its own OpenAPI document by schemathesis: every answer has a
 * documented status, type and form, what is malformed is refused, and other methods are told which ones there are.
 * Usage: `node tests/conformance/schemathesis.ts [--max-examples N] [--seed N]`; needs Python 3.11 or so, and installs what is
 * pinned in requirements/schemathesis.txt into .cache/conformance. Ends with `N passed, N failed`, by operation.
 */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { ROOT } from "../support/repository.ts";
import { DevSystem } from "../support/system.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const WANTED = join(import.meta.dirname, "requirements", "schemathesis.txt");
const ENVIRONMENT = join(ROOT, ".cache", "conformance", "schemathesis");

/** Makes the Python environment, unless it is there as it is wanted. */
async function install(): Promise<void> {
  const wanted = await readFile(WANTED, "utf8");
  const mark = join(ENVIRONMENT, "installed.txt");
  if ((await readFile(mark, "utf8").catch(() => "")) === wanted) return;
  console.log(`schemathesis: ${wanted.trim().split("\n").length} Python packages ...`);
  await rm(ENVIRONMENT, { recursive: true, force: true });
  await mkdir(join(ENVIRONMENT, ".."), { recursive: true });
  const run = promisify(execFile);
  await run(process.env["PYTHON"] ?? "python3", ["-m", "venv", ENVIRONMENT]);
  const flags = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement", WANTED];
  await run(join(ENVIRONMENT, "bin", "pip"), flags);
  await writeFile(mark, wanted);
}

/** One operation as the report of a run has it. */
type Line = { readonly passed: number; readonly failed: number };

/** Runs it, shows what it says, and reads from its summary how many operations were tested and how many failed. */
async function hold(url: string, argv: readonly string[]): Promise<Line> {
  const program = join(ENVIRONMENT, "bin", "schemathesis");
  const config = ["--config-file", join(import.meta.dirname, "schemathesis.toml")];
  const flags = ["--suppress-health-check", "all", "--warnings", "off", "--no-color", ...argv];
  const child = spawn(program, [...config, "run", `${url}/openapi.json`, ...flags], {
    cwd: join(ROOT, ".cache", "conformance"),
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, PYTHONUNBUFFERED: "1" },
  });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk.toString();
    process.stdout.write(chunk);
  });
  const [code] = (await once(child, "close")) as [number | null];
  const tested = Number(/^ {2}Tested: (\d+)/m.exec(text)?.[1] ?? 0);
  const cases = Number(/^ {2}(\d+) generated/m.exec(text)?.[1] ?? 0);
  // Failures have a heading each: the operation's.
  const failed = new Set([...text.matchAll(/^_{3,} (.*?) _{3,}$/gm)].map(([, operation]) => operation)).size;
  if (tested === 0 || cases === 0) return { passed: 0, failed: 1 };
  return { passed: tested - failed, failed: Math.max(failed, code === 0 ? 0 : 1) };
}

const { values } = parseArgs({
  options: {
    "max-examples": { type: "string", default: "30" },
    seed: { type: "string", default: "1" },
  },
});
await install();
await using folder = await temporaryFolder();
const links = { digits: "models/digits", scanned: "examples/hooks/models/scanned" };
for (const [name, path] of Object.entries(links)) await symlink(join(ROOT, path), join(folder.path, name));
await using system = await DevSystem.start({ models: folder.path });
const { passed, failed } = await hold(system.url, ["--max-examples", values["max-examples"], "--seed", values.seed]);
await system.stop();
console.log(`\nschemathesis: ${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

import { execFile } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "../support/repository.ts";

/** What the suites install and write. */
export const CONFORMANCE_CACHE = join(ROOT, ".cache", "conformance");

/**
 * Makes the Python environment `name` with the packages of requirements/NAME.txt and nothing else, unless it is there as it is
 * wanted, and gives its folder. Needs Python 3.11 or so, as `python3` or `$PYTHON`, and a package index.
 */
export async function pythonEnvironment(name: string): Promise<string> {
  const requirements = join(import.meta.dirname, "requirements", `${name}.txt`);
  const folder = join(CONFORMANCE_CACHE, name);
  const wanted = await readFile(requirements, "utf8");
  const mark = join(folder, "installed.txt");
  if ((await readFile(mark, "utf8").catch(() => "")) === wanted) return folder;
  console.log(`${name}: ${wanted.trim().split("\n").length} Python packages ...`);
  await rm(folder, { recursive: true, force: true });
  await mkdir(CONFORMANCE_CACHE, { recursive: true });
  const run = promisify(execFile);
  await run(process.env["PYTHON"] ?? "python3", ["-m", "venv", folder]);
  const flags = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement", requirements];
  await run(join(folder, "bin", "pip"), flags);
  await writeFile(mark, wanted);
  return folder;
}

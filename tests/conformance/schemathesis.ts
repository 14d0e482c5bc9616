/**
 * Property-based requests against a live `millrace dev`, made from its own OpenAPI document by schemathesis: every answer has a
 * documented status, type and form, what is malformed is refused, and other methods are told which ones there are.
 * Usage: `node tests/conformance/schemathesis.ts [--max-examples N] [--seed N]`; needs Python 3.11 or so, and installs what is
 * pinned in requirements/schemathesis.txt into .cache/conformance. Ends with `N passed, N failed`, by operation.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ROOT } from "../support/repository.ts";
import { DevSystem } from "../support/system.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { CONFORMANCE_CACHE, pythonEnvironment } from "./python-environment.ts";
import type { Tally } from "./tally.ts";

/** Runs it, shows what it says, and reads from its summary how many operations were tested and how many failed. */
async function hold(url: string, argv: readonly string[]): Promise<Tally> {
  const program = join(await pythonEnvironment("schemathesis"), "bin", "schemathesis");
  const config = ["--config-file", join(import.meta.dirname, "schemathesis.toml")];
  const flags = ["--suppress-health-check", "all", "--warnings", "off", "--no-color", ...argv];
  const child = spawn(program, [...config, "run", `${url}/openapi.json`, ...flags], {
    cwd: CONFORMANCE_CACHE,
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
await using folder = await temporaryFolder();
const links = { digits: "models/digits", scanned: "examples/hooks/models/scanned" };
for (const [name, path] of Object.entries(links)) await symlink(join(ROOT, path), join(folder.path, name));
await using system = await DevSystem.start({ models: folder.path, readyTimeoutMs: 120_000 });
const { passed, failed } = await hold(system.url, ["--max-examples", values["max-examples"], "--seed", values.seed]);
await system.stop();
console.log(`\nschemathesis: ${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

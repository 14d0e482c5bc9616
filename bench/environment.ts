import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { join } from "node:path";
import { ROOT } from "../tests/support/repository.ts";

/** What a result depends on beside the code. */
export type BenchEnvironment = {
  readonly commit: string;
  /** Whether files differ from the commit. */
  readonly isDirty: boolean;
  readonly cores: number;
  readonly processor: string;
  readonly platform: string;
  readonly versions: Readonly<Record<string, string>>;
  /** What each Python peer is pinned to, of what matters. */
  readonly peers: Readonly<Record<string, readonly string[]>>;
};

/** Packages that tell what a peer is; the rest is in its file of requirements. */
const TELLING = /^(?:mosec|fastapi|uvicorn|flask|gunicorn|litserve|bentoml|mlserver|ray|onnxruntime|numpy|orjson)==/i;

const REQUIREMENTS = join(ROOT, "bench", "peers", "requirements");

export function describeEnvironment(): BenchEnvironment {
  const version = (name: string): string => {
    const text = readFileSync(join(ROOT, "node_modules", name, "package.json"), "utf8");
    return (JSON.parse(text) as { version: string }).version;
  };
  return {
    commit: git("rev-parse", "HEAD"),
    isDirty: git("status", "--porcelain", "--untracked-files=no") !== "",
    cores: availableParallelism(),
    processor: cpus()[0]?.model ?? "",
    platform: `${process.platform}-${process.arch}`,
    versions: {
      node: process.versions.node,
      onnxruntime: version("onnxruntime-node"),
    },
    peers: Object.fromEntries(
      readdirSync(REQUIREMENTS).map((file) => [
        file.replace(".txt", ""),
        readFileSync(join(REQUIREMENTS, file), "utf8")
          .split("\n")
          .filter((line) => TELLING.test(line)),
      ]),
    ),
  };
}

/** "" outside of a git checkout. */
function git(...argv: string[]): string {
  try {
    return execFileSync("git", argv, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return "";
  }
}

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { ROOT } from "../tests/support/repository.ts";

/** What a result depends on beside the code. */
export type BenchEnvironment = {
  readonly commit: string;
  /** Whether files differ from the commit. */
  readonly isDirty: boolean;
  readonly cores: number;
  readonly platform: string;
  readonly versions: Readonly<Record<string, string>>;
};

export function describeEnvironment(): BenchEnvironment {
  const version = (name: string): string => {
    const text = readFileSync(join(ROOT, "node_modules", name, "package.json"), "utf8");
    return (JSON.parse(text) as { version: string }).version;
  };
  return {
    commit: git("rev-parse", "HEAD"),
    isDirty: git("status", "--porcelain", "--untracked-files=no") !== "",
    cores: availableParallelism(),
    platform: `${process.platform}-${process.arch}`,
    versions: {
      node: process.versions.node,
      onnxruntime: version("onnxruntime-node"),
      zeromq: version("zeromq"),
    },
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

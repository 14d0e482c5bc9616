import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { parseAllDocuments } from "yaml";
import { ROOT } from "../../tests/support/repository.ts";
import type { Manifest } from "./manifest.ts";

const run = promisify(execFile);

/** Built once where neither kubectl nor kustomize is installed. */
const BUILT = join(ROOT, ".cache", "bin", "kustomize");
const MODULE = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.1";

let command: Promise<readonly string[]> | undefined;

/**
 * What `kubectl apply -k` would apply of a folder.
 * @throws Error where the folder does not render, or nothing that renders it can be had.
 */
export async function render(folder: string): Promise<Manifest[]> {
  const [program = "", ...args] = await (command ??= findCommand());
  const { stdout } = await run(program, [...args, folder], { maxBuffer: 16 * 2 ** 20 });
  return parseAllDocuments(stdout).map((document) => {
    if (document.errors.length > 0) throw document.errors[0];
    return document.toJS() as Manifest;
  });
}

async function findCommand(): Promise<readonly string[]> {
  if (await starts("kubectl", ["version", "--client"])) return ["kubectl", "kustomize"];
  if (await starts("kustomize", ["version"])) return ["kustomize", "build"];
  if (!existsSync(BUILT)) {
    if (!(await starts("go", ["version"])))
      throw new Error("manifests are rendered by kubectl or kustomize, or Go to build it");
    await run("go", ["install", MODULE], { env: { ...process.env, GOBIN: join(BUILT, ".."), CGO_ENABLED: "0" } });
  }
  return [BUILT, "build"];
}

async function starts(program: string, args: readonly string[]): Promise<boolean> {
  return run(program, args).then(
    () => true,
    () => false,
  );
}

import { lstat, readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { OptionError } from "@millrace/runtime";
import { loadHookModule } from "./hook-loader.ts";
import type { Hooks } from "./hook-module.ts";

/** The file in a model's folder that exports its hooks. */
export const HOOKS_FILE = "hooks.ts";

/** The hooks of a model, where their module is; or why they cannot be used. */
export type FoundHooks = { readonly path: string; readonly hooks: Hooks | string };

/**
 * The hooks of every model in a folder that has some, by the model's name. Links are followed, names that start with a dot are not
 * looked at.
 * @throws {OptionError} when the folder cannot be read.
 */
export async function loadHooks(folder: string): Promise<ReadonlyMap<string, FoundHooks>> {
  let names: readonly string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    throw new OptionError(
      `--models ${folder} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  const found = new Map<string, FoundHooks>();
  for (const name of names.toSorted()) {
    const path = resolve(join(folder, name, HOOKS_FILE));
    if (!name.startsWith(".") && (await isThere(path))) found.set(name, { path, hooks: await loadHookModule(path) });
  }
  return found;
}

/** What cannot be looked at is there, and so is a link that leads nowhere: a model is not served without hooks that it should have. */
async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    ({ code }: NodeJS.ErrnoException) => code !== "ENOENT" && code !== "ENOTDIR",
  );
}

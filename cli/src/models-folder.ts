import { existsSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { OptionError } from "@millrace/runtime";

/** The folder that holds `models/` and `examples/`, in the repository. */
export const HOME = resolve(import.meta.dirname, "../..");

/**
 * The folder of the model repository: the given one, else ./models where it is there, else the bundled models.
 * @throws {OptionError} where there is none.
 */
export function findModels(given: string): string {
  const isFolder = (path: string): boolean => existsSync(path) && statSync(path).isDirectory();
  if (given !== "") {
    const folder = resolve(given);
    if (!isFolder(folder)) throw new OptionError(`--models ${given}: there is no such folder`);
    return folder;
  }
  const found = [resolve("models"), resolve(HOME, "models")].find(isFolder);
  if (found === undefined)
    throw new OptionError("there is no ./models here; name a model repository with --models DIR");
  return found;
}

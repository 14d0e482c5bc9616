import { readFile } from "node:fs/promises";
import { OptionError } from "./options.ts";

/**
 * What the file of an option holds. `what` names the file in messages.
 * @throws {OptionError} where it cannot be read, or `parse` throws.
 */
export async function readOptionFile<T>(
  { path, what }: { readonly path: string; readonly what: string },
  parse: (text: string) => T,
): Promise<T> {
  try {
    return parse(await readFile(path, "utf8"));
  } catch (error) {
    throw new OptionError(`${what} ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

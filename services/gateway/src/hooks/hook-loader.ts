import { registerHooks } from "node:module";
import { pathToFileURL } from "node:url";
import { type Hooks, readHookModule } from "./hook-module.ts";

let isRegistered = false;

/**
 * A folder of models can be anywhere: `@millrace/hooks` is then the gateway's own, and a file without a package.json around it is
 * taken for the ES module that it is.
 */
function resolveForHooks(): void {
  if (isRegistered) return;
  isRegistered = true;
  registerHooks({
    resolve: (specifier, context, nextResolve) => {
      const isOurs = specifier === "@millrace/hooks";
      const found = nextResolve(specifier, isOurs ? { ...context, parentURL: import.meta.url } : context);
      const hasNoFormat = found.format === undefined || found.format === null;
      return hasNoFormat && found.url.endsWith(".ts") ? { ...found, format: "module-typescript" } : found;
    },
  });
}

/** Loads one module of hooks. Its top level runs, once a thread. Never throws: what is wrong comes as text. */
export async function loadHookModule(path: string): Promise<Hooks | string> {
  resolveForHooks();
  try {
    return readHookModule((await import(pathToFileURL(path).href)) as Record<string, unknown>);
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
}

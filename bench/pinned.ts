import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { delimiter, join } from "node:path";
import { nameOf } from "./process-usage.ts";
import type { SideRow } from "./side.ts";

/**
 * A side whose processes stay on one core each, as an operator would place them with `taskset` or a static CPU manager. `coreOf` has
 * the name of a process: the one that it was given, or else its program's.
 */
export function pinned(row: SideRow, coreOf: (name: string) => number): SideRow {
  return {
    ...row,
    name: `${row.name}, pinned`,
    settings: `${row.settings}; each process pinned to a core (taskset)`,
    missing: () => row.missing() || unpinnable(),
    start: async (model) => {
      const side = await row.start(model);
      for (const process of side.processes()) {
        const core = String(coreOf(nameOf(process)));
        // Threads that come later inherit it.
        execFileSync("taskset", ["--all-tasks", "--cpu-list", "--pid", core, String(process.pid)], { stdio: "ignore" });
      }
      return side;
    },
  };
}

function unpinnable(): string {
  if (availableParallelism() < 2) return "one core: there is nothing to choose";
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return folders.some((folder) => existsSync(join(folder, "taskset"))) ? "" : "taskset (util-linux) is missing";
}

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { delimiter, join } from "node:path";
import { nameOf } from "./process-usage.ts";
import type { SideRow } from "./side.ts";

const LOAD_CORE = 1;

/**
 * A side whose processes stay on one core each, as an operator would place them with `taskset` or a static CPU manager. `coreOf` has
 * the name of a process, the one that it was given, or else its program's, and counts the cores that this process may use, from 0: the
 * front's, which the load keeps off, as it would on a machine of its own. Where it may not, each answer wakes wrk on the very core
 * that wrote it, and the two change places 20,000 times a second while the other core idles.
 */
export function pinned(row: SideRow, coreOf: (name: string) => number): SideRow {
  return {
    ...row,
    name: `${row.name}, pinned`,
    settings: `${row.settings}; each process pinned to a core, the load to the one that the front is not on (taskset)`,
    loadCore: () => usableCores()[LOAD_CORE]!,
    missing: () => row.missing() || unpinnable(),
    start: async (model) => {
      await using own = new AsyncDisposableStack();
      const side = own.use(await row.start(model));
      const cores = usableCores();
      for (const process of side.processes()) {
        const core = String(cores[coreOf(nameOf(process))]);
        // Threads that come later inherit it.
        execFileSync("taskset", ["--all-tasks", "--cpu-list", "--pid", core, String(process.pid)], { stdio: "ignore" });
      }
      // From here on it is the caller's to end.
      own.move();
      return side;
    },
  };
}

function unpinnable(): string {
  if (availableParallelism() < 2) return "one core: there is nothing to choose";
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return folders.some((folder) => existsSync(join(folder, "taskset"))) ? "" : "taskset (util-linux) is missing";
}

/** The numbers of the cores that this process may use, which need not begin at 0 ("2-3,8"). */
function usableCores(): number[] {
  const [, list = ""] = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  return list.split(",").flatMap((range) => {
    const [from = 0, to = from] = range.split("-").map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}

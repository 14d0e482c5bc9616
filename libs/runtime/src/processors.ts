import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/** The processors of a process: `count` of them it may run on at a time, of which `limit` (a fraction too) it may use up. */
export type Processors = { readonly count: number; readonly limit: number | undefined };

/** Where the system shows the limits of control groups. */
const CGROUP_MOUNT = "/sys/fs/cgroup";

/** What this process may use. Node's own `availableParallelism` knows the processors, but not every container's limit. */
export function usableProcessors(): Processors {
  const limit = processorLimitOf((path) => {
    try {
      return readFileSync(path, "utf8");
    } catch {
      return undefined;
    }
  });
  return { count: availableParallelism(), limit };
}

/** Whole processors that may be kept busy, at least 1: a thread more than the limit allows would be stopped in the middle of a run. */
export function wholeProcessors({ count, limit }: Processors): number {
  return Math.max(1, Math.floor(Math.min(count, limit ?? count)));
}

/**
 * The lowest limit of processor time that a control group of this process has, in processors (0.5 is half of one); undefined
 * where there is none. `read` gives a file's text, undefined where it is not there.
 *
 * Version 2 keeps it in `cpu.max` ("200000 100000": quota and period in µs, or "max"), version 1 in `cpu.cfs_quota_us` (−1 =
 * none) and `cpu.cfs_period_us`; each group from the process's own up to the root may set one. A container sees its own group
 * as the root of the mount, whatever path /proc/self/cgroup tells, so paths that do not exist are passed over. Source: the
 * kernel's Documentation/admin-guide/cgroup-v2.rst and Documentation/scheduler/sched-bwc.rst.
 */
export function processorLimitOf(read: (path: string) => string | undefined): number | undefined {
  const limits: number[] = [];
  for (const line of (read("/proc/self/cgroup") ?? "").split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    for (const group of groupsOf(path)) {
      if (controllers === "") limits.push(...limitsOf(read(`${CGROUP_MOUNT}${group}/cpu.max`)));
      else if (controllers.split(",").includes("cpu")) {
        for (const mount of new Set([controllers, "cpu"])) {
          const folder = `${CGROUP_MOUNT}/${mount}${group}`;
          limits.push(...limitsOf(`${read(`${folder}/cpu.cfs_quota_us`)} ${read(`${folder}/cpu.cfs_period_us`)}`));
        }
      }
    }
  }
  return limits.length === 0 ? undefined : Math.min(...limits);
}

/** A group and those around it: "/a/b", "/a", "". */
function groupsOf(path: string): string[] {
  const parts = path.split("/").filter((part) => part !== "");
  // A group outside of the namespace is shown as "/../name".
  if (parts.includes("..")) return [""];
  return [...parts.keys(), parts.length].map((count) =>
    parts
      .slice(0, count)
      .map((part) => `/${part}`)
      .join(""),
  );
}

/** The limit that "QUOTA PERIOD" sets; none where it sets none or cannot be read. */
function limitsOf(text: string | undefined): number[] {
  const [, quota, period] = /^(\d+)\s+(\d+)\s*$/.exec((text ?? "").replaceAll("\n", "")) ?? [];
  const limit = Number(quota) / Number(period);
  return limit > 0 && Number.isFinite(limit) ? [limit] : [];
}

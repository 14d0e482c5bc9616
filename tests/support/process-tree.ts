import { existsSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** Set in the environment of every process that a test starts, and inherited by what that one starts. */
export const TREE_VARIABLE = "TEST_PROCESS_TREE";

const POLL_MS = 10;

/** One live process of a tree. */
export type TreeProcess = {
  readonly pid: number;
  /** Its `MILLRACE_NAME`, or "". */
  readonly name: string;
};

/**
 * The live processes that carry a mark, whoever their parent is by now: so an orphan is found too. Zombies do not count.
 * @throws Error where the system has no /proc (it is read because it needs no program and tells environments).
 */
export function findTree(mark: string): TreeProcess[] {
  if (!existsSync("/proc/self/environ"))
    throw new Error("system tests look for processes in /proc, so they need Linux");
  const found: TreeProcess[] = [];
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const variables = readQuietly(`/proc/${entry}/environ`).split("\0");
    if (!variables.includes(`${TREE_VARIABLE}=${mark}`) || stateOf(entry) === "Z") continue;
    const name = variables.find((variable) => variable.startsWith("MILLRACE_NAME="))?.slice("MILLRACE_NAME=".length);
    found.push({ pid: Number(entry), name: name ?? "" });
  }
  return found;
}

/** Ends every process of a tree, at once, and waits until none is left. */
export async function killTree(mark: string): Promise<void> {
  for (let left = findTree(mark); left.length > 0; left = findTree(mark)) {
    for (const { pid } of left) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended by itself in this moment.
      }
    }
    await sleep(POLL_MS);
  }
}

/** The processor time of a process and its ended, awaited children, in milliseconds, user and system; 0 if it is gone. */
export function cpuMsOf(pid: number): number {
  const [utime, stime, cutime, cstime] = statFields(String(pid)).slice(11, 15).map(Number);
  return ((utime ?? 0) + (stime ?? 0) + (cutime ?? 0) + (cstime ?? 0)) * MS_PER_TICK;
}

/**
 * The processor time of the threads of one name in a process, in milliseconds, user and system.
 * @throws Error where it has no such thread: 0 would be taken for a measurement.
 */
export function threadCpuMsOf(pid: number, name: string): number {
  const tasks = readdirSync(`/proc/${pid}/task`).map((id) => `${pid}/task/${id}`);
  const own = tasks.filter((task) => readQuietly(`/proc/${task}/comm`).trim() === name);
  if (own.length === 0) throw new Error(`process ${pid} has no thread named ${name}`);
  let ticks = 0;
  for (const task of own) {
    const [utime, stime] = statFields(task).slice(11, 13).map(Number);
    ticks += (utime ?? 0) + (stime ?? 0);
  }
  return ticks * MS_PER_TICK;
}

/** Linux fixes USER_HZ, the unit of /proc/PID/stat, at 100 on every architecture that Node runs on. */
const MS_PER_TICK = 10;

/** The fields of a process or thread from the third on: the second, the name, may hold spaces. Source: man 5 proc_pid_stat. */
function statFields(task: string): string[] {
  const text = readQuietly(`/proc/${task}/stat`);
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
}

function stateOf(pid: string): string {
  return statFields(pid)[0] ?? "";
}

/** "" for a process that has gone or is another user's. */
function readQuietly(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

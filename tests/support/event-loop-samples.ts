import { connect } from "node:net";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** Set in the environment of a system: the folder for the sockets of its probes. */
export const FOLDER_VARIABLE = "TEST_EVENT_LOOP_PROBES";

/** The timer that is watched, and the resolution of the delay, in milliseconds. */
export const TIMER_MS = 5;

/** What a timer that is this late, in milliseconds, tells of: somebody held the event loop. */
export const STALL_MS = 20;

type Quantiles = { readonly p50: number; readonly p99: number; readonly max: number };

/** What an event loop did since it was asked last. */
export type LoopSamples = {
  /** Timers that fired, one after another. */
  readonly count: number;
  /** How long a timer of `TIMER_MS` took. */
  readonly timerMs: Quantiles;
  /** Processor time of the thread from one timer to the next: no turn has computed for longer, whatever else the machine did. */
  readonly cpuMs: Quantiles;
  /** How many of them took more than `STALL_MS` longer. */
  readonly stalls: number;
  /** `monitorEventLoopDelay` of Node, which includes its resolution. */
  readonly delayMs: Quantiles;
};

/** The environment that puts a probe into every process of a system. */
export function probeEnvironment(folder: string): Readonly<Record<string, string>> {
  const probe = pathToFileURL(join(import.meta.dirname, "event-loop-probe.ts"));
  return { NODE_OPTIONS: `--import ${probe.href}`, [FOLDER_VARIABLE]: folder };
}

/** What a process has seen since the last call; `name` is its MILLRACE_NAME. */
export function takeSamples(folder: string, name: string): Promise<LoopSamples> {
  return new Promise((resolve, reject) => {
    const socket = connect(join(folder, name)).setEncoding("utf8");
    let text = "";
    socket.on("data", (chunk: string) => (text += chunk));
    socket.on("error", reject);
    socket.on("end", () => resolve(JSON.parse(text) as LoopSamples));
  });
}

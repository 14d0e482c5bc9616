/**
 * The life of one supervised child, as a pure machine: no clock, no process. `child-process.ts` executes the actions.
 *
 * - `backoff`: not running; waits for its first start, or for the next one after a crash. Left by `due`.
 * - `starting`: spawned, has not reported. Left by `reported`, `exited`.
 * - `ready`: reported; does its work. Left by `exited`.
 * - `draining`: told to end. Left by `exited`.
 * - `stopped`: ended for good, by order or because it was given up.
 *
 * `crashes` counts the ends in a row that nobody ordered; `everReady` tells a child that broke from one that never worked.
 */
export type ChildState =
  | { readonly kind: "backoff"; readonly crashes: number; readonly everReady: boolean }
  | {
      readonly kind: "starting" | "ready";
      readonly crashes: number;
      readonly everReady: boolean;
      readonly spawnedMs: number;
    }
  | { readonly kind: "draining" }
  | { readonly kind: "stopped" };

/** How a process ended; `problem` says why it could not even be spawned, else "". */
export type ChildExit = { readonly code: number | null; readonly signal: string | null; readonly problem: string };

export type ChildEvent =
  | { readonly type: "due" }
  | { readonly type: "reported" }
  | ({ readonly type: "exited" } & ChildExit)
  | { readonly type: "drain" }
  | { readonly type: "kill" };

export type ChildAction =
  | { readonly type: "spawn" }
  /** Send `due` after this many milliseconds; one wait at a time. */
  | { readonly type: "wait"; readonly afterMs: number }
  | { readonly type: "cancelWait" }
  /** SIGTERM goes to the process, SIGKILL to its whole group. */
  | { readonly type: "signal"; readonly signal: "SIGTERM" | "SIGKILL" }
  | { readonly type: "log"; readonly level: "info" | "warn" | "error"; readonly message: string }
  /** It does its work for the first time. */
  | { readonly type: "firstReady" }
  /** It never worked and is not tried again. */
  | { readonly type: "giveUp"; readonly reason: string }
  | { readonly type: "ended" };

/** Numbers of the restart policy. Times in milliseconds. */
export const RESTART = {
  backoffMsMin: 100,
  backoffMsMax: 5_000,
  /** A life at least this long clears the count of crashes, if it was ready in it: whoever loads for long and dies each time is not stable. */
  stableMs: 2_000,
  /** A child that was never ready is given up at this many crashes. */
  startsMax: 3,
  /** The exit code of a role whose options are wrong: starting it again cannot help. */
  optionExitCode: 2,
} as const;

/** Every child begins here; `due` starts it. */
export const INITIAL_CHILD_STATE: ChildState = { kind: "backoff", crashes: 0, everReady: false };

type Step = { readonly state: ChildState; readonly actions: readonly ChildAction[] };

/** The next state and what to do, in order. Events that mean nothing in a state leave it as it is. */
export function reduceChild(state: ChildState, event: ChildEvent, nowMs: number): Step {
  switch (event.type) {
    case "due": {
      if (state.kind !== "backoff") return { state, actions: [] };
      const { crashes, everReady } = state;
      return { state: { kind: "starting", crashes, everReady, spawnedMs: nowMs }, actions: [{ type: "spawn" }] };
    }
    case "reported": {
      if (state.kind !== "starting") return { state, actions: [] };
      const tookMs = nowMs - state.spawnedMs;
      const message = `${state.everReady ? "is back" : "is ready"} after ${toSeconds(tookMs)}`;
      const first: ChildAction[] = state.everReady ? [] : [{ type: "firstReady" }];
      return {
        state: { ...state, kind: "ready", everReady: true },
        actions: [{ type: "log", level: "info", message }, ...first],
      };
    }
    case "exited":
      return exited(state, event, nowMs);
    case "drain":
      return end(state, "SIGTERM");
    case "kill":
      return end(state, "SIGKILL");
  }
}

function end(state: ChildState, signal: "SIGTERM" | "SIGKILL"): Step {
  switch (state.kind) {
    case "backoff":
      return { state: { kind: "stopped" }, actions: [{ type: "cancelWait" }, { type: "ended" }] };
    case "starting":
    case "ready":
      return { state: { kind: "draining" }, actions: [{ type: "signal", signal }] };
    case "draining":
      return { state, actions: signal === "SIGKILL" ? [{ type: "signal", signal }] : [] };
    case "stopped":
      return { state, actions: [] };
  }
}

function exited(state: ChildState, exit: ChildExit, nowMs: number): Step {
  if (state.kind === "draining") {
    // Before it listens for signals, the SIGTERM of a drain ends it at once.
    const level = exit.code === 0 || exit.signal === "SIGTERM" ? "info" : "warn";
    return {
      state: { kind: "stopped" },
      actions: [{ type: "log", level, message: describeExit(exit) }, { type: "ended" }],
    };
  }
  if (state.kind !== "starting" && state.kind !== "ready") return { state, actions: [] };
  const lifeMs = nowMs - state.spawnedMs;
  const wasStable = state.kind === "ready" && lifeMs >= RESTART.stableMs;
  const crashes = wasStable ? 1 : state.crashes + 1;
  const ended = `${describeExit(exit)} after ${toSeconds(lifeMs)}`;
  if (!state.everReady && (crashes >= RESTART.startsMax || exit.code === RESTART.optionExitCode)) {
    const times = crashes === 1 ? "" : ` (${crashes} times in a row)`;
    const reason = `${ended}${times} and was never ready`;
    return { state: { kind: "stopped" }, actions: [{ type: "giveUp", reason }, { type: "ended" }] };
  }
  const afterMs = backoffMs(crashes);
  return {
    state: { kind: "backoff", crashes, everReady: state.everReady },
    actions: [
      { type: "log", level: "error", message: `${ended}; starting it again in ${afterMs} ms` },
      { type: "wait", afterMs },
    ],
  };
}

/** 100 ms, doubled with each crash in a row, 5 s at most. `crashes` is at least 1. */
function backoffMs(crashes: number): number {
  return Math.min(RESTART.backoffMsMax, RESTART.backoffMsMin * 2 ** (crashes - 1));
}

function describeExit({ code, signal, problem }: ChildExit): string {
  if (problem !== "") return `could not be started (${problem})`;
  if (signal !== null) return `was ended by ${signal}`;
  return `ended with exit code ${code ?? "unknown"}`;
}

function toSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 0)} s`;
}

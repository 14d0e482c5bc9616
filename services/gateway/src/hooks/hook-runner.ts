import type { HookContext, HookEvent, HookLog } from "@millrace/hooks";
import type { HookWork } from "./hook-message.ts";
import type { Hooks } from "./hook-module.ts";

/** The request that a hook runs for. */
export type HookScope = Pick<HookContext, "model" | "requestId" | "signal"> & {
  /** On the clock of `performance.now()` of this thread. */
  readonly deadlineMs: number;
  /** What the hooks of this request leave for one another. */
  readonly state: Record<string, unknown>;
};

/** Runs the hooks of one model, here or in threads. */
export interface HookRunner {
  /**
   * What the hook gives, which nobody has checked, or a promise of it; throws or rejects with what it throws, or with an error of the
   * same name and message. Not bounded in time: a hook may never end.
   */
  run(work: HookWork, scope: HookScope): unknown;
  close(): Promise<void>;
}

/** Where the log lines and events of a model's hooks go. */
export type HookSinks = {
  readonly log: (level: keyof HookLog, fields: Parameters<HookLog["info"]>[0], text: string) => void;
  readonly count: (event: HookEvent, times: number) => void;
};

/** What a hook is given beside its work. */
export function createContext(scope: HookScope, sinks: HookSinks): HookContext {
  const { model, requestId, signal, deadlineMs, state } = scope;
  const line = (level: keyof HookLog): HookLog["info"] => {
    return (fields, text) => sinks.log(level, { ...fields, requestId }, text);
  };
  return {
    model,
    requestId,
    signal,
    state,
    remainingMs: () => Math.max(0, deadlineMs - performance.now()),
    log: { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") },
    count: (event, times = 1) => sinks.count(event, times),
  };
}

/** Calls a hook: what it gives, or a promise of it. */
export function callHook(hooks: Hooks, work: HookWork, context: HookContext): unknown {
  switch (work.hook) {
    case "preprocess":
      return hooks.preprocess?.(work.given, context);
    case "postprocess":
      return hooks.postprocess?.(work.given, context);
    case "after":
      return hooks.after?.(work.given, context);
  }
}

/** Runs hooks on the gateway's own thread: for what waits more than it computes. */
export class InlineRunner implements HookRunner {
  readonly #hooks: Hooks;
  readonly #sinks: HookSinks;

  constructor(hooks: Hooks, sinks: HookSinks) {
    this.#hooks = hooks;
    this.#sinks = sinks;
  }

  run(work: HookWork, scope: HookScope): unknown {
    return callHook(this.#hooks, work, createContext(scope, this.#sinks));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

import type { HookAnswer, HookEvent, HookLog, HookRecord, HookRequest } from "@millrace/hooks";

/** One call of a hook: which one, and with what. */
export type HookWork =
  | { readonly hook: "preprocess"; readonly given: HookRequest }
  | { readonly hook: "postprocess"; readonly given: HookAnswer }
  | { readonly hook: "after"; readonly given: HookRecord };

/** What the gateway tells a thread of hooks. `id` names a call. */
export type ToHookThread =
  | {
      readonly type: "run";
      readonly id: number;
      readonly work: HookWork;
      readonly model: { readonly name: string; readonly version: string };
      readonly requestId: string;
      /** Until the deadline, in milliseconds: the threads' clocks differ. */
      readonly remainingMs: number;
      readonly state: Record<string, unknown>;
    }
  | { readonly type: "abort"; readonly id: number };

/** What a thread of hooks tells the gateway. */
export type FromHookThread =
  | { readonly type: "done"; readonly id: number; readonly result: unknown; readonly state: Record<string, unknown> }
  | { readonly type: "failed"; readonly id: number; readonly error: ThreadError }
  /** The call's signal is aborted: the thread is alive. */
  | { readonly type: "aborted"; readonly id: number }
  | {
      readonly type: "log";
      readonly level: keyof HookLog;
      readonly fields: Readonly<Record<string, string | number | boolean>>;
      readonly text: string;
    }
  | { readonly type: "count"; readonly event: HookEvent; readonly times: number };

/** What is left of an error on its way between threads: classes do not travel. */
export type ThreadError = { readonly name: string; readonly message: string; readonly stack: string };

export type HookThreadSetup = { readonly path: string };

import type { ModelDescription } from "@millrace/protocol";
import type { FormRequest } from "../call/inference-call.ts";
import type { Refusal } from "../http/refusal.ts";

/** What a parse thread is told to read; the memory of `body` comes with it. One at a time. */
export type ParseRequest = {
  readonly form: string;
  /**
   * A model comes once, and is kept in this place until another comes for it: it must be the same object for every body, since what is
   * remembered of a model's bodies hangs on it.
   */
  readonly place: number;
  readonly model?: ModelDescription;
  readonly body: Uint8Array;
  readonly jsonBytes: number;
};

/** What it made of it; the memory of the payload comes with it. A refusal has lost its class on the way. */
export type ParseReply = { readonly request: FormRequest } | { readonly refusal: Refusal };

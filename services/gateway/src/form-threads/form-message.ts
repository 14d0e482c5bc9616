import type { ModelDescription } from "@millrace/protocol";
import type { FormAnswer, FormRequest, WrittenAnswer } from "../call/inference-call.ts";
import type { Refusal } from "../http/refusal.ts";

/** For which model and in which form a thread works. */
export type FormPlace = {
  readonly form: string;
  /**
   * A model comes once, and is kept in this place until another comes for it: it must be the same object every time, since what is
   * remembered of a model's bodies hangs on it.
   */
  readonly place: number;
  readonly model?: ModelDescription;
};

/** A body to read; its memory comes with it. */
export type ReadOrder = { readonly body: Uint8Array; readonly jsonBytes: number };

/** An answer to write; the memory of its outputs comes with it. Of the request there is what its form asks for, and no tensors. */
export type WriteOrder = {
  readonly answer: Omit<FormAnswer<Omit<FormRequest, "inputs" | "payload">>, "model">;
};

/** What a thread is told to do. One at a time. */
export type FormOrder = FormPlace & (ReadOrder | WriteOrder);

/** What it made of it; the memory of payload and parts comes with it. A refusal has lost its class on the way. */
export type FormReply =
  | { readonly request: FormRequest }
  | { readonly written: WrittenAnswer }
  | { readonly refusal: Refusal };

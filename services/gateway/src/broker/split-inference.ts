import { rowsOfRun } from "@millrace/protocol";
import type { Inference, InferenceAnswer, InferenceRequest, ModelTable } from "./inference.ts";
import { joinOutputs, partsOf } from "./row-parts.ts";

type Answer = InferenceAnswer & { readonly ok: true };
type Failure = InferenceAnswer & { readonly ok: false };

/**
 * - `waiting`: parts are to be answered.
 * - `failing`: one was refused; the others are cancelled, and what was refused in the same turn is heard before the answer.
 * - `ended`: answered or cancelled; final. What still arrives for its parts is dropped.
 */
type SplitState = "waiting" | "failing" | "ended";

/** A request that runs in parts. */
type Split = {
  state: SplitState;
  readonly onAnswer: (answer: InferenceAnswer) => void;
  /** Of the parts, in the order of their rows: handles and rows, and the outputs that have come. */
  readonly handles: number[];
  readonly rows: readonly number[];
  readonly outputs: Answer["outputs"][];
  open: number;
  failure: Failure | undefined;
};

/**
 * Inference without a largest batch: a request with more rows than one run takes is handed on in parts of that many, and has one
 * answer when all of them have theirs. Its rows come back in their order; its stages, worker and batch are those of the part
 * that was answered last, which is the one that it had to wait for. Each part is admitted, batched and sent again like any
 * request, all under one budget; the first that fails fails the request, with the longest Retry-After of those that are
 * refused with it, and the others are cancelled. All other requests pass through.
 */
export class SplitInference implements Inference {
  readonly models: ModelTable;
  readonly #inner: Inference;
  /** By handle: these are negative, those of the inner side positive. */
  readonly #splits = new Map<number, Split>();
  #count = 0;

  constructor(inner: Inference) {
    this.#inner = inner;
    this.models = inner.models;
  }

  submit(request: InferenceRequest, onAnswer: (answer: InferenceAnswer) => void): number {
    const rowsMax = rowsOfRun(request.model, request);
    return request.rows > rowsMax ? this.#split(request, rowsMax, onAnswer) : this.#inner.submit(request, onAnswer);
  }

  cancel(handle: number): void {
    if (handle > 0) return this.#inner.cancel(handle);
    const split = this.#splits.get(handle);
    if (split === undefined) return;
    this.#end(handle, split);
    this.#cancelParts(split);
  }

  readTotals(onTotals: Parameters<Inference["readTotals"]>[0]): void {
    this.#inner.readTotals(onTotals);
  }

  unreadyReason(): string {
    return this.#inner.unreadyReason();
  }

  #split(request: InferenceRequest, rowsMax: number, onAnswer: (answer: InferenceAnswer) => void): number {
    const handle = -++this.#count;
    const parts = partsOf(request, rowsMax);
    const rows = parts.map((part) => part.rows);
    const none = { handles: [], outputs: [], failure: undefined };
    const split: Split = { ...none, state: "waiting", onAnswer, rows, open: parts.length };
    this.#splits.set(handle, split);
    for (const [index, part] of parts.entries()) {
      split.handles.push(this.#inner.submit(part, (answer) => this.#onPart(handle, { split, index }, answer)));
    }
    return handle;
  }

  #onPart(handle: number, { split, index }: { split: Split; index: number }, answer: InferenceAnswer): void {
    if (split.state === "ended") return;
    if (!answer.ok) return this.#onFailure(handle, split, answer);
    split.outputs[index] = answer.outputs;
    split.open--;
    if (split.open > 0 || split.state === "failing") return;
    const joined = answerOf(split, answer);
    this.#end(handle, split);
    split.onAnswer(joined);
  }

  #onFailure(handle: number, split: Split, failure: Failure): void {
    const first = split.failure;
    if (first !== undefined) {
      if (failure.retryAfterMs > first.retryAfterMs) split.failure = { ...first, retryAfterMs: failure.retryAfterMs };
      return;
    }
    split.failure = failure;
    split.state = "failing";
    // What one message refuses is told in one turn.
    queueMicrotask(() => {
      if (split.state !== "failing") return;
      this.#end(handle, split);
      this.#cancelParts(split);
      split.onAnswer(split.failure ?? failure);
    });
  }

  #end(handle: number, split: Split): void {
    split.state = "ended";
    this.#splits.delete(handle);
  }

  #cancelParts({ handles }: Split): void {
    for (const handle of handles) this.#inner.cancel(handle);
  }
}

function answerOf({ outputs, rows }: Split, last: Answer): InferenceAnswer {
  const joined = joinOutputs(outputs, rows);
  if (joined === undefined) {
    const message = "the parts of the request have answers that do not fit together: other outputs, or other shapes";
    return { ok: false, code: "model_error", message, retryAfterMs: 0, stages: last.stages };
  }
  return { ...last, outputs: joined, rows: rows.reduce((sum, count) => sum + count, 0) };
}

import type { ModelEntry } from "../broker/inference.ts";

/**
 * The document as text, made anew when models have changed and not for each who asks: any client may, without a key, and for a hundred
 * models it takes 60 ms in which nobody is served. Pure but for its memory of the last text.
 */
export class DocumentText {
  readonly #make: (models: readonly ModelEntry[]) => string;
  #models: readonly ModelEntry[] | undefined;
  #text = "";

  /** `make` heeds which models there are and which are the default, not how many workers serve them. */
  constructor(make: (models: readonly ModelEntry[]) => string) {
    this.#make = make;
  }

  /** O(models) where nothing has changed. */
  of(models: readonly ModelEntry[]): string {
    if (this.#models === undefined || !areSame(this.#models, models)) {
      this.#text = this.#make(models);
      this.#models = models;
    }
    return this.#text;
  }
}

function areSame(a: readonly ModelEntry[], b: readonly ModelEntry[]): boolean {
  if (a.length !== b.length) return false;
  return a.every(({ model, isDefault }, at) => model === b[at]!.model && isDefault === b[at]!.isDefault);
}

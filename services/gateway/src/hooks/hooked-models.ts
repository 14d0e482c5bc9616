import type { ModelDescription } from "@millrace/protocol";
import type { ModelEntry, ModelTable } from "../broker/inference.ts";
import { facadeOf } from "./facade.ts";
import type { Hooks } from "./hook-module.ts";

/** What is known of the hooks of a model's name. */
export type HooksOfModels<Known extends { readonly hooks: Hooks | string }> = ReadonlyMap<string, Known>;

/** A model with hooks: as it is, and what is known of its hooks. */
export type Hooked<Known> = { readonly model: ModelDescription; readonly known: Known };

/** The models of a table as their clients see them; those without hooks are the table's own. Pure. */
export class HookedModels<Known extends { readonly hooks: Hooks | string }> implements ModelTable {
  readonly #inner: ModelTable;
  readonly #known: HooksOfModels<Known>;
  /** Model → its facade, and back. A description that the broker tells anew is a new one. */
  readonly #facades = new WeakMap<ModelDescription, ModelDescription>();
  readonly #hooked = new WeakMap<ModelDescription, Hooked<Known>>();

  constructor(inner: ModelTable, known: HooksOfModels<Known>) {
    this.#inner = inner;
    this.#known = known;
  }

  find(name: string, version?: string): { readonly model: ModelDescription; readonly workers: number } | undefined {
    const found = this.#inner.find(name, version);
    if (found === undefined || !this.#known.has(name)) return found;
    return { model: this.#facadeOf(found.model), workers: found.workers };
  }

  list(): readonly ModelEntry[] {
    return this.#inner.list().map((entry) => ({ ...entry, model: this.#facadeOf(entry.model) }));
  }

  /** What is behind a facade that this table has given; undefined for a model without hooks. */
  hookedOf(facade: ModelDescription): Hooked<Known> | undefined {
    return this.#hooked.get(facade);
  }

  #facadeOf(model: ModelDescription): ModelDescription {
    const known = this.#known.get(model.name);
    if (known === undefined) return model;
    const made = this.#facades.get(model);
    if (made !== undefined) return made;
    // Never the model itself: a model without changes has hooks all the same.
    const facade = { ...facadeOf(model, known.hooks) };
    this.#facades.set(model, facade);
    this.#hooked.set(facade, { model, known });
    return facade;
  }
}

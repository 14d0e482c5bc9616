/** Models with series of their own, by name, the first ones: each costs some 400 lines of every page. */
export const MODELS_MAX = 100;

/** The label of all others, and of what belongs to no model: clients must not be able to make series. No model has this name. */
export const OTHER_MODELS = "";

/** The recorders of each model by its name, for good; the first hundred models have their own, all others share one. */
export class ByModel<Recorders> {
  /** Of what belongs to no model, or to one of too many. */
  readonly others: Recorders;
  readonly #create: (model: string) => Recorders;
  readonly #own = new Map<string, Recorders>();

  /** `create` makes the recorders of a model, with every series of it. */
  constructor(create: (model: string) => Recorders) {
    this.#create = create;
    this.others = create(OTHER_MODELS);
  }

  /** Those of a model, made where it is new. */
  of(name: string): Recorders {
    const known = this.#own.get(name);
    if (known !== undefined) return known;
    if (name === OTHER_MODELS || this.#own.size >= MODELS_MAX) return this.others;
    const recorders = this.#create(name);
    this.#own.set(name, recorders);
    return recorders;
  }

  /** All that there are. */
  all(): Recorders[] {
    return [this.others, ...this.#own.values()];
  }
}
